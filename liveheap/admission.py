"""May a snapshot be taken now, and what would it cost the worker?

A snapshot is a fork: the worker stops while the kernel copies its page tables, and
the child needs a little memory beside it. Both are foretold here from what the kernel
says under /proc and /sys/fs/cgroup, so that the answer is "no, because of this limit"
before the fork and not an out-of-memory kill after it.

Everything is a function over a root path: the tests hand in a tree of files of their
own, and the file system of a worker is just the tree at `/`. A file that is missing,
unreadable or of a strange form means "no such limit", never an error: a worker in a
container without /sys must still be answered.

Rules, with their origin:

* Pause: 4 KiB pages that are private and anonymous, times a rate (25 ms/GB until a
  snapshot has measured this machine's own). Huge pages cost a thirtieth of that.
  Whoever sums them (`smaps_rollup`) holds the worker's mmap lock for 17 ms/GB, so they
  are asked for only when the size of the page tables, an upper bound that costs
  nothing, is over the budget.
* Memory: max(5 % of RSS, 16 MB), and the spool where that lies on a tmpfs. A walk
  takes 3 %; from 16 MB up, no child was ever seen killed. What the worker itself
  writes while the child lives (copy on write) is not foretold: nothing cheap knows it.
* Room is the least of: each memory cgroup from ours up to the root (limit - usage +
  file pages that can be dropped, v1 and v2), MemAvailable, RLIMIT_AS; with
  overcommit_memory = 2 the kernel must promise the whole private memory again.
* RLIMIT_NPROC is not foretold: counting a user's processes costs more than a clone
  that fails with EAGAIN, which leaves the worker unharmed.

Spools on tmpfs are admitted with their size added to the need. A relay that would
compress on the way (ENGINE notes) is not needed as long as that sum is honest.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from liveheap.errors import CommandError

MB = 1024 * 1024
GB = 1024 * MB

FIRST_MS_PER_GB = 25.0
HUGE_MS_PER_GB = 0.8
TABLE_TO_PAGES = 512
LEAST_HEADROOM = 16 * MB
HEADROOM_SHARE = 0.05
SPOOL_BYTES_PER_OBJECT = 13 * 1.2
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})

_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What /proc/self/status says, in bytes."""

    rss: int
    anonymous: int
    page_tables: int
    private_data: int
    address_space: int


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit of the surroundings: its name and how much room it leaves."""

    name: str
    room: int


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """A directory for the spool; `in_memory` if its files count as memory."""

    directory: str
    free: int
    in_memory: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a snapshot is expected to cost and what it may cost."""

    pause_ms: float
    need: int
    headroom: Bound


def process_memory(root: str = "/") -> ProcessMemory:
    """Read this process's memory from /proc/self/status."""
    fields = _kilobyte_fields(_read(root, "proc/self/status"))
    return ProcessMemory(
        rss=fields.get("VmRSS", 0),
        anonymous=fields.get("RssAnon", fields.get("VmRSS", 0)),
        page_tables=fields.get("VmPTE", 0),
        private_data=fields.get("VmData", 0),
        address_space=fields.get("VmSize", 0),
    )


def huge_pages(root: str = "/") -> int | None:
    """Bytes in anonymous huge pages; None if unknown. Holds the mmap lock."""
    fields = _kilobyte_fields(_read(root, "proc/self/smaps_rollup"))
    return fields.get("AnonHugePages")


class PausePredictor:
    """Foretells the stop of a fork, and learns the machine's rate from each one."""

    def __init__(self) -> None:
        self.ms_per_gb = FIRST_MS_PER_GB

    def upper_bound_ms(self, memory: ProcessMemory) -> float:
        """Foretell without the huge pages: never too low, once calibrated."""
        mapped = memory.anonymous
        if memory.page_tables:
            mapped = min(mapped, memory.page_tables * TABLE_TO_PAGES)
        return mapped / GB * self.ms_per_gb

    def predict_ms(self, memory: ProcessMemory, huge: int | None) -> float:
        """Foretell with the huge pages, if they are known."""
        if huge is None:
            return self.upper_bound_ms(memory)
        small = max(memory.anonymous - huge, 0)
        return small / GB * self.ms_per_gb + huge / GB * HUGE_MS_PER_GB

    def learn(self, pause_ns: int, memory: ProcessMemory, huge: int | None) -> None:
        """Move half way to the rate just measured.

        Small heaps say nothing about a rate. Without the huge pages the measured rate
        may be too low, so then it only ever raises ours.
        """
        small = memory.anonymous - (huge or 0)
        if small < 64 * MB:
            return
        measured = min(max(pause_ns / 1e6 / (small / GB), 5.0), 500.0)
        if huge is not None or measured > self.ms_per_gb:
            self.ms_per_gb += (measured - self.ms_per_gb) / 2


def memory_bounds(root: str = "/") -> Iterator[Bound]:
    """Each limit on the memory of this process and a child of it."""
    memory = process_memory(root)
    for directory, name in _cgroup_directories(root, "memory"):
        room = _cgroup_room(directory)
        if room is not None:
            yield Bound(f"memory limit of cgroup {name}", room)
    system = _kilobyte_fields(_read(root, "proc/meminfo"))
    if "MemAvailable" in system:
        yield Bound("available memory of the machine", system["MemAvailable"])
    address_space = _soft_limit(root, "Max address space")
    if address_space is not None:
        yield Bound("RLIMIT_AS", max(address_space - memory.address_space, 0))
    if _read(root, "proc/sys/vm/overcommit_memory").strip() == "2":
        promised = system.get("CommitLimit", 0) - system.get("Committed_AS", 0)
        room = max(promised - memory.private_data, 0)
        yield Bound("CommitLimit (vm.overcommit_memory is 2)", room)


def headroom(root: str = "/") -> Bound:
    """The tightest of the memory limits."""
    unknown = Bound("no known limit", _UNLIMITED)
    return min(memory_bounds(root), key=lambda bound: bound.room, default=unknown)


def process_bounds(root: str = "/") -> Iterator[Bound]:
    """Each limit on the number of processes that a clone would have to pass."""
    for directory, name in _cgroup_directories(root, "pids"):
        limit = _number(_read(directory, "pids.max"))
        current = _number(_read(directory, "pids.current"))
        if limit is not None and current is not None:
            yield Bound(f"pids.max of cgroup {name}", max(limit - current, 0))


def spool_need(n_objects: int) -> int:
    """Bytes of spool to plan for a graph of so many objects."""
    return int(n_objects * SPOOL_BYTES_PER_OBJECT) + MB


def spool_place(
    directories: Sequence[str], *, need: int, root: str = "/"
) -> SpoolPlace | None:
    """Pick the first directory on a disk with enough room, else one in memory.

    Directories that are missing or not writable do not count. None if none is left.
    """
    usable = [place for name in directories if (place := _look_at(name, root))]
    roomy = [place for place in usable if place.free >= need]
    roomy.sort(key=lambda place: place.in_memory)
    if roomy:
        return roomy[0]
    return max(usable, key=lambda place: place.free, default=None)


def forecast(
    memory: ProcessMemory,
    *,
    pause_ms: float,
    spool: SpoolPlace | None,
    spool_bytes: int,
    root: str = "/",
) -> Forecast:
    """Put together what a snapshot needs and what there is."""
    need = max(int(memory.rss * HEADROOM_SHARE), LEAST_HEADROOM)
    if spool is not None and spool.in_memory:
        need += spool_bytes
    return Forecast(pause_ms=pause_ms, need=need, headroom=headroom(root))


def admit(expected: Forecast, *, max_pause_ms: float, root: str = "/") -> None:
    """Raise CommandError("refused") if the worker should not be forked now."""
    if expected.headroom.room < expected.need:
        raise CommandError(
            "refused",
            f"a snapshot needs {megabytes(expected.need)} of free memory, but "
            f"{expected.headroom.name} leaves {megabytes(expected.headroom.room)}",
            hint="give the worker more memory, ask for `histogram`, or risk the "
            "snapshot with --force (the kernel kills the snapshot's child first)",
        )
    for bound in process_bounds(root):
        if bound.room < 1:
            raise CommandError(
                "refused",
                f"{bound.name} permits no further process",
                hint="raise the limit, or ask for `histogram`",
            )
    if expected.pause_ms > max_pause_ms:
        raise CommandError(
            "refused",
            f"the worker would stop for about {expected.pause_ms:.0f} ms, and "
            f"{max_pause_ms:.0f} ms are allowed",
            hint=f"allow it with --max-pause {expected.pause_ms * 1.3:.0f} or --force",
        )


def admit_spool(
    place: SpoolPlace | None, *, need: int, looked_at: Sequence[str]
) -> None:
    """Raise CommandError("refused") if no place can hold the spool."""
    hint = "name a directory on a disk with LIVEHEAP_SPOOL"
    if place is None:
        raise CommandError(
            "refused",
            f"no writable directory for the spool (tried {', '.join(looked_at)})",
            hint=hint,
        )
    if place.free < need:
        raise CommandError(
            "refused",
            f"the spool needs about {megabytes(need)}, but {place.directory} has "
            f"{megabytes(place.free)} free",
            hint=hint,
        )


def megabytes(n_bytes: int) -> str:
    """Write bytes for a person."""
    return f"{n_bytes / MB:,.0f} MB"


def _look_at(directory: str, root: str) -> SpoolPlace | None:
    try:
        if not os.access(directory, os.W_OK | os.X_OK):
            return None
        room = os.statvfs(directory)
    except OSError:
        return None
    in_memory = _file_system_type(directory, root) in MEMORY_FILE_SYSTEMS
    return SpoolPlace(directory, room.f_bavail * room.f_frsize, in_memory)


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    point: str
    type: str
    options: str


def _mounts(root: str) -> list[_Mount]:
    """/proc/self/mountinfo, in order of mounting."""
    mounts = []
    for line in _read(root, "proc/self/mountinfo").splitlines():
        left, dash, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if dash and len(fields) >= 5 and len(tail) >= 3:
            mounts.append(
                _Mount(_unescape(fields[3]), _unescape(fields[4]), tail[0], tail[2])
            )
    return mounts


def _file_system_type(directory: str, root: str) -> str:
    """The type of the file system a directory lies on; "" if unknown."""
    path = os.path.realpath(directory)
    best = _Mount("", "", "", "")
    for mount in _mounts(root):
        if _inside(path, mount.point) and len(mount.point) >= len(best.point):
            best = mount
    return best.type


def _cgroup_directories(root: str, controller: str) -> Iterator[tuple[str, str]]:
    """Directories of our cgroup and its ancestors for a controller, with their names.

    What /proc/self/cgroup calls our path is counted from the hierarchy's root, while a
    container often sees only its own part mounted: the mount's root is taken off.
    """
    mounts = _mounts(root)
    for line in _read(root, "proc/self/cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        if fields[1] == "":
            found = [m for m in mounts if m.type == "cgroup2"]
        elif controller in fields[1].split(","):
            found = [
                m
                for m in mounts
                if m.type == "cgroup" and controller in m.options.split(",")
            ]
        else:
            continue
        for mount in found[:1]:
            yield from _upwards(root, mount, fields[2])


def _upwards(root: str, mount: _Mount, path: str) -> Iterator[tuple[str, str]]:
    relative = path
    if mount.root != "/":
        relative = path[len(mount.root) :] if _inside(path, mount.root) else "/"
    parts = [part for part in relative.split("/") if part]
    if ".." in parts:
        parts = []
    top = os.path.join(root, mount.point.lstrip("/"))
    for length in range(len(parts), -1, -1):
        yield os.path.join(top, *parts[:length]), "/" + "/".join(parts[:length])


def _cgroup_room(directory: str) -> int | None:
    """Limit - usage + droppable file pages of one cgroup; None if it has no limit."""
    limit = _number(_read(directory, "memory.max"))
    usage = _number(_read(directory, "memory.current"))
    names = ("inactive_file", "active_file")
    if limit is None:
        limit = _number(_read(directory, "memory.limit_in_bytes"))
        usage = _number(_read(directory, "memory.usage_in_bytes"))
        names = ("total_inactive_file", "total_active_file")
    if limit is None or usage is None or limit >= _UNLIMITED:
        return None
    droppable = 0
    for line in _read(directory, "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in names:
            droppable += _number(value) or 0
    return max(limit - usage + droppable, 0)


def _soft_limit(root: str, name: str) -> int | None:
    for line in _read(root, "proc/self/limits").splitlines():
        if line.startswith(name):
            return _number(line[len(name) :].split()[0])
    return None


def _kilobyte_fields(text: str) -> dict[str, int]:
    """Lines like `VmRSS:   123 kB`, as bytes."""
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            fields[name] = int(words[0]) * 1024
    return fields


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _inside(path: str, ancestor: str) -> bool:
    return path == ancestor or path.startswith(ancestor.rstrip("/") + "/")


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of blank, tab, newline and backslash."""
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def _read(root: str, name: str) -> str:
    try:
        with open(os.path.join(root, name), "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
