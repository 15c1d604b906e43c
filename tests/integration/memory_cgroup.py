"""A memory cgroup for one worker, v1 or v2, below the one the tests run in."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from spawn import WORKERS, eventually

MOUNTS = Path("/sys/fs/cgroup")


class NoCgroup(Exception):
    """There is none here, or it is not ours to change."""


@dataclass
class MemoryCgroup:
    """One directory of the cgroup file system, and its two file names."""

    directory: Path
    limit_file: str
    usage_file: str
    no_limit: str

    @classmethod
    def create(cls) -> "MemoryCgroup":
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
                return cls(made_below(parent, names[0]), *names)
        raise NoCgroup("/sys/fs/cgroup is not writable, or memory is not delegated")

    def command(self, program: str, *args: object) -> list[str]:
        """Return what starts a worker inside the cgroup."""
        enter = f'echo $$ > {self.directory}/cgroup.procs && exec "$@"'
        words = [sys.executable, str(WORKERS / program), *map(str, args)]
        return ["sh", "-c", enter, "sh", *words]

    def leave_headroom(self, size: int) -> None:
        """Set the limit to what is used now and so much more."""
        usage = int((self.directory / self.usage_file).read_text())
        (self.directory / self.limit_file).write_text(str(usage + size))

    def lift(self) -> None:
        (self.directory / self.limit_file).write_text(self.no_limit)

    def remove(self) -> None:
        def gone() -> bool:
            try:
                self.directory.rmdir()
            except OSError:
                return False
            return True

        eventually(gone, what=f"{self.directory} is empty")


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
