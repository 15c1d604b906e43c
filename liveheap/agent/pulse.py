"""Whether a process gets on, or sleeps at something that never comes.

A process that waits for a processor is runnable, however long it has to; one that waits
for a disk is not asleep in the kernel's eyes, and wakes whenever a page has come. One
that waits for a lock which nobody will ever give back sleeps without waking once. The
kernel counts how often a process has gone to sleep: if it is seen asleep many times in
a row, and the count is the same, it sleeps for good. Looks are counted and not seconds,
for where everything stands still (a frozen cgroup, a suspended machine) so does who
looks.
"""

from __future__ import annotations

from contextlib import suppress

LOOKED_AT = (b"State", b"voluntary_ctxt_switches")


class Pulse:
    """What the kernel says of one process, look by look."""

    def __init__(self, pid: int) -> None:
        self._path = f"/proc/{pid}"
        self._seen: dict[bytes, bytes] = {}
        self._still = 0

    def look(self) -> int:
        """Return for how many looks in a row it has slept without waking."""
        seen = self._look()
        is_asleep = seen.get(b"State", b"").startswith(b"S")
        self._still = self._still + 1 if is_asleep and seen == self._seen else 0
        self._seen = seen
        return self._still

    def _look(self) -> dict[bytes, bytes]:
        seen = {}
        with suppress(OSError), open(f"{self._path}/status", "rb") as file:
            for line in file:
                name, _, value = line.partition(b":")
                if name in LOOKED_AT:
                    seen[name] = value.strip()
        return seen

    def where(self) -> str:
        """Return the kernel's word for what it sleeps in; ? where it is not told."""
        with suppress(OSError), open(f"{self._path}/wchan", "rb") as file:
            return file.read(64).decode("ascii", "replace").strip("0") or "?"
        return "?"
