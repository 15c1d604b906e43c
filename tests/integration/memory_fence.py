"""Walls around a worker's memory: RLIMIT_AS anywhere, a memory cgroup where it may be.

A cgroup is what a container has and what kills; it needs one that we may write to, v1
or v2, below the one the tests run in. RLIMIT_AS needs nothing.
"""

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from spawn import WORKERS, eventually

MOUNTS = Path("/sys/fs/cgroup")


class AddressSpace:
    """RLIMIT_AS of a running worker."""

    name = "RLIMIT_AS"

    def command(self, program: str, *args: object) -> list[str]:
        return command(program, *args)

    def leave_headroom(self, pid: int, size: int) -> None:
        """Set the limit to what is mapped now and so much more."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + size
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    def lift(self, pid: int) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_AS, unlimited)

    def remove(self) -> None:
        """Nothing is left of it."""


@dataclass
class MemoryCgroup:
    """One directory of the cgroup file system, and its two file names."""

    directory: Path
    limit_file: str
    usage_file: str
    no_limit: str

    name = "cgroup"

    def command(self, program: str, *args: object) -> list[str]:
        """Return what starts a worker inside the cgroup."""
        enter = f'echo $$ > {self.directory}/cgroup.procs && exec "$@"'
        return ["sh", "-c", enter, "sh", *command(program, *args)]

    def leave_headroom(self, _pid: int, size: int) -> None:
        """Set the limit to what is used now and so much more."""
        usage = int((self.directory / self.usage_file).read_text())
        (self.directory / self.limit_file).write_text(str(usage + size))

    def lift(self, _pid: int) -> None:
        (self.directory / self.limit_file).write_text(self.no_limit)

    def remove(self) -> None:
        def gone() -> bool:
            try:
                self.directory.rmdir()
            except OSError:
                return False
            return True

        eventually(gone, what=f"{self.directory} is empty")


Fence = AddressSpace | MemoryCgroup


def command(program: str, *args: object) -> list[str]:
    return [sys.executable, str(WORKERS / program), *map(str, args)]


def make_cgroup() -> MemoryCgroup | None:
    """Make a cgroup below ours; None if that is not for us."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            parent = MOUNTS / "memory" / path.strip("/")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "-1")
        elif not controllers and (MOUNTS / "cgroup.controllers").exists():
            parent = MOUNTS / path.strip("/")
            names = ("memory.max", "memory.current", "max")
        else:
            continue
        with contextlib.suppress(OSError):
            return MemoryCgroup(made_below(parent, names[0]), *names)
    return None


def made_below(parent: Path, limit_file: str) -> Path:
    """Make a child cgroup that has a memory limit, or raise OSError."""
    directory = parent / f"liveheap-{os.getpid()}"
    directory.mkdir()
    if (directory / limit_file).exists():
        return directory
    with contextlib.suppress(OSError):
        (parent / "cgroup.subtree_control").write_text("+memory")
    if (directory / limit_file).exists():
        return directory
    directory.rmdir()
    raise OSError("memory is not delegated")


def kinds() -> list[str]:
    """Return the names of the fences that can be had here."""
    cgroup = make_cgroup()
    if cgroup is None:
        return [AddressSpace.name]
    cgroup.remove()
    return [AddressSpace.name, MemoryCgroup.name]


def make(kind: str) -> Fence:
    """Make a fence of a kind that `kinds` has named."""
    made = make_cgroup() if kind == MemoryCgroup.name else AddressSpace()
    assert made is not None
    return made
