"""The one door to the engine, `liveheap._heap`.

Everything about the heap is asked here; only process.py and allocators.py, which look
at no object, import the extension beside this. Where it is missing or does not fit the
interpreter (free-threaded, unknown minor version, a self-test that finds other
structures than expected), `unsupported` says why, every question is refused with that
reason, and the rest of the agent works.

A snapshot and a histogram are walks of a clone of the worker: admitted first
(admission.py), then cloned, then walked by a child that needs neither the GIL nor the
network (forker.h). What each clone really cost teaches the forecast of the next one,
and each walk how many objects a megabyte holds here.

Where no clone can be made, a histogram can be counted in the worker itself with the
GIL held: 65 to 80 ms per million objects against some milliseconds. Not for small heaps
either, where that would be quick: a fault of the walker kills a clone and no worker.
"""

import errno
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from liveheap import admission, hugepages, limits
from liveheap.allocators import Allocators
from liveheap.counts import TypeCount, read_counts
from liveheap.errors import CommandError
from liveheap.hugepages import PrepareResult
from liveheap.limits import ProcessMemory
from liveheap.spool import Spool, directories
from liveheap.walk import Child, HeapWalk, WalkOutcome, walk_flags

import_error: str | None = None
try:
    from liveheap import _heap
except Exception as exc:  # a broken build must not break the worker
    import_error = f"the engine cannot be loaded: {exc}"

FIRST_BYTES_PER_OBJECT = 75.0
IN_PROCESS_NS_PER_OBJECT = 80
CHILD_MEMORY = 64 * admission.MB
HISTOGRAM_SPOOL = 8 * admission.MB
LOOK_EVERY_S = 0.05
REST_S = 0.001
LEAST_COPY_MEMORY = 256 * admission.MB


@dataclass(frozen=True, slots=True)
class HeapFacts:
    """What a snapshot would cost now; bytes, and milliseconds of stop."""

    rss: int
    anonymous: int
    page_tables: int
    headroom: int
    headroom_limit: str
    needed: int
    predicted_pause_ms: float
    ms_per_gb: float
    estimated_objects: int


@dataclass(frozen=True, slots=True)
class HistogramResult:
    """Objects and bytes by type, and what counting them cost."""

    rows: list[TypeCount]
    nodes: int
    bytes: int
    pause_ns: int
    walk_ns: int
    in_process: bool
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeapCopy:
    """A copy that was just made, the worker's size then, and the copy's limits."""

    child: Child
    rss: int
    cap: int
    lives_s: float


class Heap:
    """The heap of this process.

    `run_directory`, once somebody knows it, is the last place a spool may go: on a
    read-only file system the only one. What would stop the worker for longer than
    `owners_pause_ms` is refused, forced or not. `root` is where /proc and /sys are.
    """

    run_directory: str | None = None
    owners_pause_ms: float = math.inf

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        root: str = "/",
    ) -> None:
        self.allocators = Allocators()
        self._environ = os.environ if environ is None else environ
        self._root = root
        self._predictor = admission.PausePredictor()
        self._bytes_per_object = FIRST_BYTES_PER_OBJECT
        self._crashing_type = 0
        self._verdict: str | None = None
        self._was_tested = False

    @property
    def unsupported(self) -> str | None:
        """Why the engine cannot be used here; None if it works. Tested once."""
        if import_error is not None:
            return import_error
        if not self._was_tested:
            try:
                _heap.selftest()
            except Exception as exc:  # whatever it is: engine off
                self._verdict = f"the engine's self-test failed: {exc}"
            self._was_tested = True
        return self._verdict

    def facts(self) -> HeapFacts:
        """Look at /proc: cheap, needs no engine, stops nobody."""
        memory = limits.process_memory(self._root)
        expected = self._forecast(memory, None, None, 0)
        return HeapFacts(
            rss=memory.rss,
            anonymous=memory.anonymous,
            page_tables=memory.page_tables,
            headroom=expected.headroom.room,
            headroom_limit=expected.headroom.name,
            needed=expected.need,
            predicted_pause_ms=expected.pause_ms,
            ms_per_gb=self._predictor.ms_per_gb,
            estimated_objects=self._estimated_objects(memory),
        )

    def snapshot(
        self,
        *,
        spool_directory: str | None = None,
        max_pause_ms: float = 100,
        force: bool = False,
        timeout_s: float = 60,
        own_threads: Sequence[int] = (),
        texts: bool = False,
        values: bool = False,
        hold: str | None = None,
    ) -> HeapWalk:
        """Clone the worker and let the clone write its graph into a spool.

        With `texts` it hashes the contents of str and bytes, with a key for this walk
        alone; with `values` it tells their beginnings, which takes scope values.
        `force` overrides what is foretold, but not `owners_pause_ms`. `hold` is for
        tests: see _heap.snapshot_start.

        Raises:
            CommandError: "unsupported", or "refused" with the limit that forbids it.
        """
        memory = limits.process_memory(self._root)
        n_objects = self._estimated_objects(memory)
        key = os.urandom(16) if texts else None
        return self._walk(
            "graph",
            memory,
            spool_bytes=admission.spool_need(n_objects, texts=texts, values=values),
            spool_directory=spool_directory,
            max_pause_ms=max_pause_ms,
            force=force,
            timeout_s=timeout_s,
            options={
                "own_threads": [*own_threads],
                "hold": hold,
                "hash_key": key,
                "values": values,
            },
        )

    def clone(
        self,
        program: Callable[[Mapping[int, Any]], object],
        fd: int,
        *,
        max_pause_ms: float = 100,
        force: bool = False,
        lives_s: float = 600,
        may_write: bool = False,
    ) -> HeapCopy:
        """Clone the worker into a copy that goes on as `program`, with `fd` alone open.

        Call it with the import lock held. Without `may_write` it writes no files.

        Raises:
            CommandError: "unsupported", or "refused" with the limit that forbids it.
        """
        self._must_work()
        memory = limits.process_memory(self._root)
        huge = None
        if self._predictor.upper_bound_ms(memory) > min(
            max_pause_ms, self.owners_pause_ms
        ):
            huge = limits.huge_pages(self._root)
        expected = admission.clone_forecast(
            memory, pause_ms=self._predictor.predict_ms(memory, huge), root=self._root
        )
        admission.admit_pause(expected, self.owners_pause_ms)
        if not force:
            admission.admit(expected, max_pause_ms=max_pause_ms, root=self._root)
        cap = max(expected.need, LEAST_COPY_MEMORY)
        with saying_who_forbids("ask for `snapshot`, which needs less"):
            child = _heap.copy_start(fd, program, lives_s, cap, 0 if may_write else 1)
        self._predictor.learn(child.pause_ns, memory, huge)
        return HeapCopy(child, memory.rss, cap, lives_s)

    def histogram(
        self,
        *,
        own_threads: Sequence[int] = (),
        in_process: bool | None = None,
        max_pause_ms: float = 100,
        force: bool = False,
        timeout_s: float = 60,
        spool_directory: str | None = None,
        cancelled: Callable[[], object] = lambda: None,
    ) -> HistogramResult:
        """Count objects and bytes by type.

        In a clone, or with `in_process` in the worker itself, which stops for the whole
        count. None decides: in the worker only if the kernel permits no clone and the
        count would stop it no longer than `max_pause_ms`. `cancelled` is called now
        and then while the clone walks; what it raises ends the walk.

        Raises:
            CommandError: "unsupported", "refused", or "failed" with the reason.
        """
        self._must_work()
        memory = limits.process_memory(self._root)
        options = {"own_threads": list(own_threads)}
        n_objects = self._estimated_objects(memory)
        if in_process:
            return self._count_here(options, memory, spool_directory, force=force)
        try:
            walk = self._walk(
                "histogram",
                memory,
                spool_bytes=HISTOGRAM_SPOOL,
                spool_directory=spool_directory,
                max_pause_ms=max_pause_ms,
                force=force,
                timeout_s=timeout_s,
                options=options,
            )
        except CommandError as refusal:
            stop_ms = n_objects * IN_PROCESS_NS_PER_OBJECT / 1e6
            allowed_ms = self.owners_pause_ms if force else max_pause_ms
            affordable = stop_ms <= min(allowed_ms, self.owners_pause_ms)
            no_clone = refusal.detail.get("cause") == "clone"
            if in_process is None and no_clone and affordable:
                return self._count_here(options, memory, spool_directory, force=force)
            raise
        with walk:
            return _count_in_child(walk, cancelled)

    def prepare(
        self,
        *,
        rest_s: float = 0.002,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> PrepareResult:
        """Gather the worker's small pages into huge ones, so that a fork stops it less.

        Opt-in: about 3.5 s of another core per GB, RSS +1 to 3 %; the fork afterwards
        takes a thirtieth. Runs without the GIL, rests between chunks, and ends when
        memory gets short or the kernel (6.1 or later) cannot do it.
        """
        self._must_work()
        return hugepages.prepare(
            _heap.collapse, rest_s=rest_s, cancelled=cancelled, root=self._root
        )

    def sha256(self) -> "_heap.Sha256":
        """Return a fresh SHA-256 that keeps the GIL from nobody."""
        return _heap.Sha256()

    def add_pending_call(self, fn: Callable[[], object]) -> bool:
        """Have the main thread call `fn` soon; False if its queue is full."""
        if import_error is not None:
            return False
        return bool(_heap.add_pending_call(fn))

    def _must_work(self) -> None:
        reason = self.unsupported
        if reason is not None:
            raise CommandError("unsupported", reason)

    def _estimated_objects(self, memory: ProcessMemory) -> int:
        return int(memory.anonymous / self._bytes_per_object)

    def _forecast(
        self,
        memory: ProcessMemory,
        huge: int | None,
        place: admission.SpoolPlace | None,
        spool_bytes: int,
    ) -> admission.Forecast:
        return admission.forecast(
            memory,
            pause_ms=self._predictor.predict_ms(memory, huge),
            spool=place,
            spool_bytes=spool_bytes,
            root=self._root,
        )

    def _walk(
        self,
        kind: str,
        memory: ProcessMemory,
        *,
        spool_bytes: int,
        spool_directory: str | None,
        max_pause_ms: float,
        force: bool,
        timeout_s: float,
        options: dict[str, Any],
    ) -> HeapWalk:
        """Admit, open the spool, clone."""
        self._must_work()
        huge = None
        if self._predictor.upper_bound_ms(memory) > min(
            max_pause_ms, self.owners_pause_ms
        ):
            huge = limits.huge_pages(self._root)
        tried = directories(self._environ, spool_directory, self.run_directory)
        place = admission.spool_place(tried, need=spool_bytes, root=self._root)
        if place is None or not force:
            admission.admit_spool(place, need=spool_bytes, looked_at=tried)
        assert place is not None
        expected = self._forecast(memory, huge, place, spool_bytes)
        admission.admit_pause(expected, self.owners_pause_ms)
        if not force:
            admission.admit(expected, max_pause_ms=max_pause_ms, root=self._root)
        options |= {
            "timeout_s": timeout_s,
            "cpu_s": int(timeout_s) + 2,
            "memory_bytes": CHILD_MEMORY + memory.rss // 4,
            "spool_bytes": admission.spool_limit(place, spool_bytes),
        }

        def start(spool: Spool, without_type: int) -> Child:
            child = _start(spool, kind, options | {"opaque_type": without_type})
            self._predictor.learn(child.pause_ns, memory, huge)
            return child

        def learn(walk: HeapWalk, outcome: WalkOutcome) -> None:
            self._learn(outcome, memory)

        return HeapWalk(
            start,
            _open_spool(place.directory),
            timeout_s=timeout_s,
            without_type=self._crashing_type,
            oom_kills=lambda: limits.oom_kills(self._root),
            on_end=learn,
        )

    def _learn(self, outcome: WalkOutcome, memory: ProcessMemory) -> None:
        if outcome.crashed_address:
            self._crashing_type = outcome.crashed_address
        if outcome.complete and outcome.nodes > 0:
            self._bytes_per_object = max(memory.anonymous / outcome.nodes, 20.0)

    def _count_here(
        self,
        options: dict[str, Any],
        memory: ProcessMemory,
        spool_directory: str | None,
        *,
        force: bool,
    ) -> HistogramResult:
        """Count with the GIL held: the pause is the whole call."""
        if not force:
            admission.admit_memory(self._forecast(memory, None, None, 0))
        tried = directories(self._environ, spool_directory, self.run_directory)
        place = admission.spool_place(tried, need=HISTOGRAM_SPOOL, root=self._root)
        admission.admit_spool(place, need=HISTOGRAM_SPOOL, looked_at=tried)
        assert place is not None
        spool = _open_spool(place.directory)
        try:
            started = time.monotonic_ns()
            status = _heap.histogram_here(spool.fd, options)
            pause_ns = time.monotonic_ns() - started
            counts = read_counts(spool.read(0, spool.size()))
        finally:
            spool.close()
        if not counts.complete:
            raise CommandError("failed", "the count was cut short")
        return HistogramResult(
            rows=counts.rows,
            nodes=counts.nodes,
            bytes=counts.bytes,
            pause_ns=pause_ns,
            walk_ns=pause_ns,
            in_process=True,
            flags=walk_flags(status["flags"]),
        )


def _count_in_child(walk: HeapWalk, cancelled: Callable[[], object]) -> HistogramResult:
    while not walk.wait(LOOK_EVERY_S):
        cancelled()
    outcome = walk.outcome()
    if not outcome.complete:
        raise CommandError("failed", outcome.reason or "the count was cut short")
    counts = read_counts(walk.read(0, outcome.raw_length))
    return HistogramResult(
        rows=counts.rows,
        nodes=counts.nodes,
        bytes=counts.bytes,
        pause_ns=outcome.pause_ns,
        walk_ns=outcome.walk_ns,
        in_process=False,
        flags=outcome.flags,
    )


def _start(spool: Spool, kind: str, options: dict[str, Any]) -> Child:
    """Clone, and say what forbade it if the kernel would not.

    The GIL can be had on either side: who waits for it waits for the clone alone.
    """
    _heap.rest(REST_S)
    with saying_who_forbids(
        "ask for `histogram`, which can be counted in the worker itself"
    ):
        child: Child = _heap.snapshot_start(spool.fd, kind, options)
    _heap.rest(REST_S)
    return child


@contextmanager
def saying_who_forbids(hint: str) -> Iterator[None]:
    """Turn the kernel's no to a clone into words."""
    try:
        yield
    except OSError as exc:
        limit = _CLONE_ERRORS.get(exc.errno or 0, "the kernel")
        raise CommandError(
            "refused",
            f"no clone of the worker could be made: {os.strerror(exc.errno or 0)} "
            f"({limit})",
            hint=hint,
            detail={"cause": "clone"},
        ) from exc


_CLONE_ERRORS = {
    errno.EAGAIN: "RLIMIT_NPROC or a pids limit",
    errno.ENOMEM: "a memory limit, or vm.overcommit_memory",
    errno.EPERM: "a seccomp filter",
    errno.ENOSYS: "a seccomp filter",
}


def _open_spool(directory: str) -> Spool:
    try:
        return Spool(directory)
    except OSError as exc:
        raise CommandError(
            "refused",
            f"no spool can be made in {directory}: {exc.strerror}",
            hint="name a directory on a disk with LIVEHEAP_SPOOL",
        ) from exc
