"""The snapshots of one agent that lie in spools: who reads each, and for how long.

A spool goes with the session that reads it, unless the client asked for a lease: then
it waits that long without a reader, so that a client whose link has dropped comes back
for the rest. It is known by an id that nobody can guess, and given to nobody whose
session has a lower scope than the one that it was made with.

What that may cost the worker's machine is bounded. There are `max_spools` (rails.py); a
new snapshot takes the place of one that waits, never of one that is read. Those that
wait hold MOST_KEPT_BYTES together. A walk whose client has gone may end within GRACE_S,
since most of them take less; a longer one is killed, and nothing of it stays.

Who comes back may be early: over a link that is frozen, the session before still tries
to send. It is hung up on, for only who knows the id can ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from liveheap.agent.native import Native
from liveheap.commands.spooled import Spooled
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.rails import Rails

if TYPE_CHECKING:
    from liveheap.agent.session import Session

MOST_KEPT_BYTES = 2 << 30
GRACE_S = 3.0
TAKE_WITHIN_S = 10.0
LOOK_EVERY_S = 0.01


class Place:
    """One spool's place: empty until its walk has begun."""

    def __init__(self, reader: Session, lease_s: float) -> None:
        self.reader: Session | None = reader
        self.lease_s = lease_s
        self.scope: Scope = reader.agreed.scope
        self.spooled: Spooled | None = None
        self.n_bytes = 0
        self.ends_at: float | None = None

    def close(self) -> None:
        """Give the space back."""
        if self.spooled is not None:
            self.spooled.close()


class Spools:
    """The places of one agent in one process. For any thread of it."""

    def __init__(
        self,
        native: Native,
        rails: Rails,
        on_change: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._native = native
        self._lock = native.lock()
        self._places: list[Place] = []
        self._rails = rails
        self._on_change = on_change
        self._clock = clock
        self._closing = False

    @contextmanager
    def place(
        self, reader: Session, lease_s: float
    ) -> Iterator[Callable[[Spooled], bool]]:
        """Lend a place for one snapshot, or raise `busy`.

        The block gets what puts the snapshot there, and says whether it is leased.
        """
        place = Place(reader, min(lease_s, self._rails.spool_lease))
        self._admit(place)

        def fill(spooled: Spooled) -> bool:
            place.spooled = spooled
            return place.lease_s > 0

        with self._reading(place):
            yield fill

    @contextmanager
    def taken(self, spool_id: str, reader: Session) -> Iterator[Spooled]:
        """Lend a snapshot to another session than the one that made it.

        Raises:
            CommandError: nobody keeps it; the scope is too low; it is not to be had.
        """
        deadline = self._clock() + TAKE_WITHIN_S
        while (place := self._take(spool_id, reader)) is None:
            if self._clock() > deadline:
                raise CommandError(
                    "busy", "the session before still holds it", hint="try again"
                )
            reader.check()
            self._native.sleep(LOOK_EVERY_S)
        with self._reading(place):
            assert place.spooled is not None
            yield place.spooled

    def release(self, spool_id: str, reader: Session) -> bool:
        """Give a snapshot's space back; False if nobody keeps it."""
        with self._lock:
            place = self._find(spool_id, reader)
            if place is None or place.reader is not None:
                return False
            self._places.remove(place)
        place.close()
        self._on_change()
        return True

    def next_deadline(self) -> float | None:
        """Return when the next lease ends, if one runs."""
        ends = [each.ends_at for each in self._places if each.ends_at is not None]
        return min(ends, default=None)

    def sweep(self) -> None:
        """Drop those whose lease has ended."""
        if not self._places:
            return
        now = self._clock()
        with self._lock:
            over = [
                each
                for each in self._places
                if each.ends_at is not None and each.ends_at <= now
            ]
            for place in over:
                self._places.remove(place)
        for place in over:
            place.close()

    def waiting(self) -> int:
        """Return how many wait without a reader."""
        return sum(each.ends_at is not None for each in self._places)

    def close(self) -> None:
        """Drop those that wait; those that are read end with their sessions."""
        self._closing = True
        with self._lock:
            over = [each for each in self._places if each.reader is None]
            for place in over:
                self._places.remove(place)
        for place in over:
            place.close()

    def _admit(self, place: Place) -> None:
        """Let one more in, in the place of the one that waits longest if need be."""
        evicted = None
        with self._lock:
            if len(self._places) >= self._rails.max_spools:
                evicted = self._longest_waiting()
                if evicted is None:
                    raise CommandError(
                        "busy",
                        f"{len(self._places)} snapshots are still on their way to "
                        "other clients",
                        hint="try again when one of them is done",
                    )
                self._places.remove(evicted)
            self._places.append(place)
        if evicted is not None:
            evicted.close()

    def _longest_waiting(self) -> Place | None:
        waiting = [each for each in self._places if each.reader is None]
        return min(waiting, key=lambda each: each.ends_at or 0.0, default=None)

    @contextmanager
    def _reading(self, place: Place) -> Iterator[None]:
        """Drop a place after the block, or let it wait where somebody may come back.

        A cancelled or failed command wants nothing more; a closed one lost its client.
        """
        try:
            yield
        except GeneratorExit:
            self._leave(place)
            raise
        except BaseException:
            self._drop(place)
            raise
        self._leave(place)

    def _leave(self, place: Place) -> None:
        patience = self._clock() + GRACE_S

        def wanted() -> bool:
            return not self._closing and self._clock() < patience

        n_bytes = None
        if place.lease_s > 0 and place.spooled is not None:
            n_bytes = place.spooled.settle(wanted)
        if n_bytes is None or n_bytes > MOST_KEPT_BYTES:
            self._drop(place)
            return
        dropped = []
        with self._lock:
            place.n_bytes = n_bytes
            place.ends_at = self._clock() + place.lease_s
            place.reader = None
            if self._closing:
                self._places.remove(place)
                dropped.append(place)
            while self._kept_bytes() > MOST_KEPT_BYTES:
                oldest = self._longest_waiting()
                assert oldest is not None
                self._places.remove(oldest)
                dropped.append(oldest)
        for each in dropped:
            each.close()
        self._on_change()

    def _kept_bytes(self) -> int:
        return sum(each.n_bytes for each in self._places if each.reader is None)

    def _drop(self, place: Place) -> None:
        with self._lock:
            if place in self._places:
                self._places.remove(place)
        place.close()

    def _take(self, spool_id: str, reader: Session) -> Place | None:
        """Make a session the reader; None while another one is, which is hung up on."""
        with self._lock:
            place = self._find(spool_id, reader)
            if place is None:
                raise CommandError(
                    "no-such-snapshot",
                    "no snapshot of that id waits here any more",
                    hint="take another: liveheap snapshot TARGET",
                )
            before = place.reader
            if before is None:
                place.reader, place.ends_at = reader, None
                return place
        before.stream.hang_up()
        return None

    def _find(self, spool_id: str, reader: Session) -> Place | None:
        for place in self._places:
            if place.spooled is None or place.spooled.id != spool_id:
                continue
            if place.scope > reader.agreed.scope:
                raise CommandError(
                    "scope",
                    f"that snapshot was made in scope {place.scope.label}, "
                    f"this session has {reader.agreed.scope.label}",
                )
            return place
        return None
