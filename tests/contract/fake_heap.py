"""A heap that is no heap: what `liveheap.heap.Heap` promises, at a test's command.

It stands in for the engine in the contract tests, so that every command is tested
without a fork; `tests/engine` tests the real one. The walk writes as far as the test
says (`written`), and is over when the test says (`over`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from contract import fake_clone
from contract.fake_clone import FakeCopy

from liveheap.commands.memory import BYTES, COUNTS, PARTS
from liveheap.errors import CommandError


@dataclass(frozen=True)
class FakeCount:
    module: str
    name: str
    count: int
    bytes: int


@dataclass(frozen=True)
class FakeHistogram:
    rows: tuple[FakeCount, ...]
    pause_ns: int = 1_000_000
    walk_ns: int = 5_000_000
    in_process: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FakeProgress:
    phase: str
    nodes: int
    raw_bytes: int
    done: bool
    written: bool = False


@dataclass(frozen=True)
class FakeOutcome:
    complete: bool
    reason: str | None
    flags: tuple[str, ...]
    nodes: int
    edges: int
    bytes: int
    raw_length: int
    walk_ns: int
    pool_used: int = 0
    pool_free: int = 0
    malloc_used: int | None = None
    malloc_free: int | None = None
    malloc_mapped: int | None = None


@dataclass
class FakeWalk:
    """A walk under the test's hand."""

    raw: bytes
    written: int
    over: threading.Event
    complete: bool = True
    reason: str | None = None
    pause_ns: int = 2_000_000
    all_written: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def progress(self) -> FakeProgress:
        return FakeProgress(
            "sweep", 10, self.written, self.over.is_set(), self.all_written
        )

    def wait(self, timeout: float) -> bool:
        return self.over.wait(timeout)

    def read(self, offset: int, length: int) -> bytes:
        return self.raw[offset : offset + length]

    def outcome(self) -> FakeOutcome:
        assert self.over.is_set()
        return FakeOutcome(
            self.complete, self.reason, (), 10, 20, 640, len(self.raw), 7_000_000
        )

    def close(self) -> None:
        self.closed.set()


class FakeAllocators:
    """A process of 100 MiB, of which a trim gives 10 back."""

    def __init__(self, ask: Callable[[str, dict[str, Any]], None]) -> None:
        self._ask = ask
        self.glibc: str | None = "2.36"
        self.parts = dict.fromkeys((*PARTS, *BYTES, *COUNTS), 0)
        self.parts |= {"rss": 100 << 20, "objects": 70 << 20, "malloc_free": 30 << 20}
        self.parts |= {"trimmable": 10 << 20, "n_free_chunks": 1000}
        self.kinds = {"tcp": 3, "file": 2}

    def names(self) -> dict[str, str | None]:
        self._ask("names", {})
        return {"python": "pymalloc", "glibc": self.glibc, "malloc": "libc.so.6"}

    def residence(self, seconds: float) -> dict[str, Any]:
        return {**self.parts, "malloc_known": True, "cut_short": False}

    def trim(self) -> float:
        given, self.parts["trimmable"] = self.parts["trimmable"], 0
        self.parts["rss"] -= given
        self.parts["malloc_free"] -= given
        return 0.004

    def descriptors(self, seconds: float) -> dict[str, Any]:
        return {
            "n": 5,
            "kinds": self.kinds,
            "cut_short": False,
            "local_ports": [(8000, 3)],
            "remote_ports": [(6379, 2), (443, 1)],
        }


class FakeHeap:
    """Hands out what the test prepared, and remembers how it was asked."""

    def __init__(self) -> None:
        self.unsupported: str | None = None
        self.run_directory: str | None = None
        self.owners_pause_ms = 0.0
        self.allocators = FakeAllocators(self._ask)
        self.rows: tuple[FakeCount, ...] = (
            FakeCount("builtins", "dict", 3, 300),
            FakeCount("shop", "Order", 5, 500),
            FakeCount("", "anonymous", 1, 10),
        )
        self.walk = FakeWalk(b"", 0, threading.Event())
        self.raw(b"x" * 2_500_000)
        self.refusal: CommandError | None = None
        self.bug: Exception | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.before_histogram: Callable[[], object] = lambda: None
        self.estimated_objects = 1000
        self.pending: list[Callable[[], Any]] = []

    def raw(self, raw: bytes, *, written: int | None = None) -> None:
        """Prepare the next walk: what it writes, and how far it is at first."""
        self.walk = FakeWalk(raw, len(raw), threading.Event())
        if written is None:
            self.walk.over.set()
        else:
            self.walk.written = written

    def facts(self) -> Any:
        return SimpleNamespace(estimated_objects=self.estimated_objects)

    def snapshot(self, **options: Any) -> FakeWalk:
        self._ask("snapshot", options)
        return self.walk

    def clone(self, program: Any, fd: int, **options: Any) -> FakeCopy:
        self._ask("clone", options)
        return fake_clone.clone(fd, lives_s=options["lives_s"])

    def histogram(self, **options: Any) -> FakeHistogram:
        self._ask("histogram", options)
        self.before_histogram()
        return FakeHistogram(self.rows)

    def sha256(self) -> Any:
        return hashlib.sha256()

    def add_pending_call(self, fn: Callable[[], Any], /) -> bool:
        self.pending.append(fn)
        return True

    def _ask(self, what: str, options: dict[str, Any]) -> None:
        self.asked.append((what, options))
        if self.bug is not None:
            raise self.bug
        if self.refusal is not None:
            raise self.refusal
