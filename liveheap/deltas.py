"""What tasks leave behind, by name: resident bytes and memory blocks, before and after.

A process has one resident size, and it belongs to whatever runs. So a task counts only
if it had the process to itself: where others ran beside it, its figures would be
theirs as well, and nothing is told but how often that was so. At a concurrency of one
(prefork, RQ, a synchronous server) that is every task, at fifty greenlets it is none.

Even then one figure says little: an allocator hands out memory that a task before has
given back, and a cache fills as a leak does. The mean of hundreds says more. The first
run of a name pays for imports and stands apart.

Measuring takes two looks at /proc, and to count the blocks pymalloc visits all of its
arenas: 20 us in a small worker, a millisecond in one of a million objects. So what it
took is paid off before the next task is measured: REST times as long passes, for each
of those that ran within each other, and the host loses a tenth of a percent at most,
whatever its tasks are like, and however slow a look is where memory is short.

Where /proc cannot be read, for want of descriptors, a look shows 0 bytes and the task
is not counted.

The registry's observer (tasks.Observer): asked on the host's own threads, of tasks that
are alone and not while it rests, so it takes no lock: what two threads do at once may
cost a count, never more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from liveheap.tasks import MAX_NAMES, OTHER, Token

REST = 1000


class Left:
    """What the tasks of one name left behind; of those that were measured."""

    __slots__ = (
        "blocks_max", "blocks_sum", "first_blocks", "first_rss", "measured",
        "rss_max", "rss_sum",
    )  # fmt: skip

    def __init__(self) -> None:
        self.measured = 0
        self.first_rss = self.first_blocks = 0
        self.rss_sum = self.rss_max = 0
        self.blocks_sum = self.blocks_max = 0

    def add(self, rss: int, blocks: int) -> None:
        """Count a task that ran alone."""
        if not self.measured:
            self.first_rss, self.first_blocks = rss, blocks
        elif self.measured == 1:
            self.rss_sum = self.rss_max = rss
            self.blocks_sum = self.blocks_max = blocks
        else:
            self.rss_sum += rss
            self.rss_max = max(self.rss_max, rss)
            self.blocks_sum += blocks
            self.blocks_max = max(self.blocks_max, blocks)
        self.measured += 1


@dataclass(frozen=True, slots=True)
class Start:
    """What was found when a task began."""

    rss: int
    blocks: int
    took: float
    life: object


class Deltas:
    """The observer of a process's tasks.

    Args:
        look: the resident bytes and the memory blocks of this moment.
    """

    def __init__(
        self,
        look: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._clock = clock
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all, also what tasks that run noted: the child's half of a fork."""
        self._left: dict[str, Left] = {}
        self._life = object()

    def by_name(self) -> dict[str, Left]:
        """Return what is known, by the tasks' names."""
        return dict(self._left)

    def begin(self, token: Token) -> None:
        """Look, and note it at the task."""
        before = self._clock()
        rss, blocks = self._look()
        token.note = Start(rss, blocks, self._clock() - before, self._life)

    def end(self, token: Token) -> float:
        """Look again, if it stayed alone; return for how many seconds to rest."""
        start, token.note = token.note, None
        if not isinstance(start, Start) or start.life is not self._life:
            return 0.0
        took = start.took
        if token.alone:
            before = self._clock()
            rss, blocks = self._look()
            took += self._clock() - before
            if start.rss and rss:
                self._of(token.name).add(rss - start.rss, blocks - start.blocks)
        return REST * took

    def _of(self, name: str) -> Left:
        left = self._left.get(name)
        if left is None:
            if len(self._left) >= MAX_NAMES:
                name = OTHER
            left = self._left.setdefault(name, Left())
        return left
