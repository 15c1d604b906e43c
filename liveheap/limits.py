"""What the kernel says about this process and the limits around it.

Plain reads below a root path: the tests hand in a tree of files of their own, and the
file system of a worker is just the tree at `/`. A file that is missing, unreadable or
of a strange form means "no such limit", never an error: a worker in a container
without /sys must still be answered.

The room for memory is asked of each memory cgroup from ours up to the root (limit -
usage + file pages that can be dropped, v1 and v2), of MemAvailable, of RLIMIT_AS, and
with overcommit_memory = 2 of the kernel's promises, since a fork has it promise the
whole private memory again.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

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


def process_memory(root: str = "/", who: str = "self") -> ProcessMemory:
    """Read a process's memory from /proc/PID/status; `who` is its pid, or ours."""
    fields = _kilobyte_fields(read_text(root, f"proc/{who}/status"))
    return ProcessMemory(
        rss=fields.get("VmRSS", 0),
        anonymous=fields.get("RssAnon", fields.get("VmRSS", 0)),
        page_tables=fields.get("VmPTE", 0),
        private_data=fields.get("VmData", 0),
        address_space=fields.get("VmSize", 0),
    )


def huge_pages(root: str = "/", who: str = "self") -> int | None:
    """Bytes in anonymous huge pages; None if unknown. Holds the mmap lock."""
    return rollup(root, who).get("AnonHugePages")


def rollup(root: str = "/", who: str = "self") -> dict[str, int]:
    """The sums over a process's mappings, in bytes. Holds its mmap lock."""
    return _kilobyte_fields(read_text(root, f"proc/{who}/smaps_rollup"))


def memory_bounds(root: str = "/", who: str = "self") -> Iterator[Bound]:
    """Each limit on the memory of a process and a child of it."""
    memory = process_memory(root, who)
    for directory, name in _cgroup_directories(root, "memory", who):
        room = _cgroup_room(directory)
        if room is not None:
            yield Bound(f"memory limit of cgroup {name}", room)
    system = _kilobyte_fields(read_text(root, "proc/meminfo"))
    if "MemAvailable" in system:
        yield Bound("available memory of the machine", system["MemAvailable"])
    address_space = _soft_limit(root, "Max address space", who)
    if address_space is not None:
        yield Bound("RLIMIT_AS", max(address_space - memory.address_space, 0))
    if read_text(root, "proc/sys/vm/overcommit_memory").strip() == "2":
        promised = system.get("CommitLimit", 0) - system.get("Committed_AS", 0)
        room = max(promised - memory.private_data, 0)
        yield Bound("CommitLimit (vm.overcommit_memory is 2)", room)


def headroom(root: str = "/") -> Bound:
    """The tightest of the memory limits."""
    unknown = Bound("no known limit", _UNLIMITED)
    return min(memory_bounds(root), key=lambda bound: bound.room, default=unknown)


def process_bounds(root: str = "/", who: str = "self") -> Iterator[Bound]:
    """Each limit on the number of processes that a clone would have to pass."""
    for directory, name in _cgroup_directories(root, "pids", who):
        limit = _number(read_text(directory, "pids.max"))
        current = _number(read_text(directory, "pids.current"))
        if limit is not None and current is not None:
            yield Bound(f"pids.max of cgroup {name}", max(limit - current, 0))


def oom_kills(root: str = "/") -> int:
    """How often the kernel killed for memory in our own cgroup."""
    for directory, _name in _cgroup_directories(root, "memory"):
        for file in ("memory.events.local", "memory.events", "memory.oom_control"):
            for line in read_text(directory, file).splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return _number(value) or 0
    return 0


def file_system_type(directory: str, root: str, who: str = "self") -> str:
    """The type of the file system a directory lies on; "" if unknown."""
    path = os.path.realpath(directory)
    best = _Mount("", "", "", "")
    for mount in _mounts(root, who):
        if _inside(path, mount.point) and len(mount.point) >= len(best.point):
            best = mount
    return best.type


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    point: str
    type: str
    options: str


def _mounts(root: str, who: str = "self") -> list[_Mount]:
    """/proc/PID/mountinfo, in order of mounting."""
    mounts = []
    for line in read_text(root, f"proc/{who}/mountinfo").splitlines():
        left, dash, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if dash and len(fields) >= 5 and len(tail) >= 3:
            mounts.append(
                _Mount(_unescape(fields[3]), _unescape(fields[4]), tail[0], tail[2])
            )
    return mounts


def _cgroup_directories(
    root: str, controller: str, who: str = "self"
) -> Iterator[tuple[str, str]]:
    """Directories of a process's cgroup and its ancestors for a controller, with names.

    What /proc/PID/cgroup calls its path is counted from the hierarchy's root, while a
    container often sees only its own part mounted: the mount's root is taken off. They
    are found where we have them mounted, whosever cgroup it is.
    """
    mounts = _mounts(root)
    for line in read_text(root, f"proc/{who}/cgroup").splitlines():
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
    limit = _number(read_text(directory, "memory.max"))
    usage = _number(read_text(directory, "memory.current"))
    names = ("inactive_file", "active_file")
    if limit is None:
        limit = _number(read_text(directory, "memory.limit_in_bytes"))
        usage = _number(read_text(directory, "memory.usage_in_bytes"))
        names = ("total_inactive_file", "total_active_file")
    if limit is None or usage is None or limit >= _UNLIMITED:
        return None
    droppable = 0
    for line in read_text(directory, "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in names:
            droppable += _number(value) or 0
    return max(limit - usage + droppable, 0)


def _soft_limit(root: str, name: str, who: str) -> int | None:
    for line in read_text(root, f"proc/{who}/limits").splitlines():
        if line.startswith(name):
            return _number(line[len(name) :].strip().partition(" ")[0])
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


def read_text(root: str, name: str) -> str:
    """A file below root, or "" if it cannot be read."""
    try:
        with open(os.path.join(root, name), "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
