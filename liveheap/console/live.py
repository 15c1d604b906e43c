"""The console of one session: its namespace, its thread, and the way to the main one.

A thread that sits in a call of C cannot be interrupted. When its session ends it is
left behind, and goes as soon as the call returns; a worker has few of those at a time,
or it has no further console.
"""

from __future__ import annotations

import _thread
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from liveheap.console import completion, loading
from liveheap.console.evaluation import Evaluation
from liveheap.console.interpreter import Interpreter, made_from
from liveheap.console.loading import RunOnMain
from liveheap.console.router import ROUTER, Place
from liveheap.errors import CommandError
from liveheap.hosts import gevent

MAIN = re.compile(r"\s*%main(?:\s+|\Z)")
HUB = "hub"
STACK_BYTES = 16 << 20
MAIN_COMES_WITHIN_S = 2.0
STARTS_WITHIN_S = 5.0
ENDS_WITHIN_S = 2.0
INTERRUPT_EVERY_S = 0.1
MOST_LEFT_BEHIND = 4
LEFT_BEHIND: set[Evaluation] = set()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a console needs of the agent."""

    lock: Callable[[], Any]
    ident: Callable[[], int]
    native_id: Callable[[], int]
    main_ident: int
    start_thread: Callable[[Callable[[], object]], None]
    post: Callable[[Callable[[str], None]], object]
    """Have something called on the main thread, perhaps twice, perhaps never."""
    run_on_main: RunOnMain


class LiveConsole:
    """A session's console."""

    def __init__(self, around: Surroundings) -> None:
        if count_left_behind() >= MOST_LEFT_BEHIND:
            raise CommandError(
                "busy",
                f"{MOST_LEFT_BEHIND} evaluations of former sessions still run here",
                hint="they end when the calls of C return in which they sit",
            )
        self._around = around
        base, self._base = loading.loaded(around.ident, around.run_on_main)
        self._namespace: dict[str, Any] = {
            "__name__": "__console__",
            "__doc__": None,
            "help": self._help,
        }
        self._running: Evaluation | None = None
        self._job: Callable[[], None] | None = None
        self._wake = around.lock()
        self._wake.acquire()
        self._closing = False
        self._thread: int | None = None
        self._ready = around.lock()
        self._ready.acquire()
        self._interpreter: Interpreter = made_from(base)(self._namespace, self._write)
        try:
            with deep_stacks():
                around.start_thread(self._live)
        except RuntimeError as exc:
            raise CommandError("failed", f"no thread can be had: {exc}") from exc
        self._ready.acquire(True, STARTS_WITHIN_S)

    def evaluate(self, code: str, *, whole: bool, max_output: int) -> Evaluation:
        """Begin to run code."""
        if self._running is not None and not self._running.is_over:
            raise CommandError(
                "busy",
                f"what was evaluated before still runs: {self._running.why_not_over()}",
                hint="wait, or open another console",
            )
        around = self._around
        evaluation = Evaluation(max_output, around.lock, ROUTER.detach)
        self._running = evaluation
        ROUTER.attach(evaluation, lock=around.lock, ident=around.ident)
        if for_main := MAIN.match(code):
            evaluation.awaited_until = time.monotonic() + MAIN_COMES_WITHIN_S
            self._post(evaluation, code[for_main.end() :], whole=whole)
        else:
            self._job = lambda: self._run(evaluation, "console", code, whole=whole)
            self._wake.release()
        return evaluation

    def complete(self, text: str) -> Sequence[str]:
        """Return what the last name in the text may become."""
        return completion.candidates(text, self._namespace)

    def place(self) -> tuple[tuple[str, str, Any], ...]:
        """Say where one is."""
        return (
            ("pid", "count", os.getpid()),
            ("uid", "count", os.geteuid()),
            ("hostname", "text", os.uname().nodename),
            ("python", "text", sys.version.partition(" ")[0]),
            ("thread", "count", self._thread),
            ("class", "text", self._base),
            ("gevent", "bool", gevent.is_loaded()),
        )

    def close(self) -> None:
        """Interrupt what runs, and drop everything."""
        self._closing = True
        running, deadline = self._running, time.monotonic() + ENDS_WITHIN_S
        while running is not None and not running.is_over:
            if time.monotonic() > deadline:
                running.output.close()
                LEFT_BEHIND.add(running)
                break
            running.interrupt()
            with suppress(CommandError):
                running.wait(INTERRUPT_EVERY_S)
        with suppress(RuntimeError):
            self._wake.release()
        if running is None or running.is_over:
            self._around.run_on_main(self._drop, else_here=True)

    def _live(self) -> None:
        """The life of the console's thread."""
        self._thread, pid = self._around.native_id(), os.getpid()
        self._ready.release()
        while True:
            self._wake.acquire()
            job, self._job = self._job, None
            if job is not None:
                job()
                del job
                if os.getpid() != pid:
                    os._exit(0)  # the code has forked: nobody waits for this copy
            if self._closing:
                break
        self._drop()
        leave_no_trace(self._around.ident())

    def _run(self, evaluation: Evaluation, via: str, code: str, *, whole: bool) -> None:
        """Evaluate in the calling thread or, by way of the hub, greenlet."""
        if not evaluation.claim():
            return
        evaluation.via = via
        places, key = ROUTER.threads, self._around.ident()
        if via == HUB:
            evaluation.kill = gevent.interrupter_here()
            places, key = ROUTER.greenlets, id(sys.modules["greenlet"].getcurrent())
        places[key] = Place(evaluation.output.write, self._interpreter.show)
        try:
            evaluation.run(lambda: self._interpreter.evaluate(code, whole=whole))
        finally:
            places.pop(key, None)
            evaluation.end()

    def _post(self, evaluation: Evaluation, code: str, *, whole: bool) -> None:
        """Have it evaluated on the main thread, by a greenlet where there is a hub."""

        def come(via: str) -> None:
            if not gevent.spawn_here(lambda: run(HUB)):
                run(via)

        def run(via: str) -> None:
            self._run(evaluation, via, code, whole=whole)

        self._around.post(come)

    def _write(self, text: str) -> None:
        running = self._running
        if running is not None:
            running.output.write(text)

    def _help(self, *things: object) -> None:
        """Write the documentation of things, without a pager."""
        if not things:
            self._write("help(THING) writes what is known of it\n")
            return
        run = self._around.run_on_main
        _, pydoc = run(lambda: __import__("pydoc"), else_here=True)
        for thing in things:
            self._write(pydoc.render_doc(thing, renderer=pydoc.plaintext) + "\n")

    def _drop(self) -> None:
        """Let go of all that was defined, shown or raised."""
        self._namespace.clear()


def count_left_behind() -> int:
    """Count the evaluations that have outlived their session."""
    LEFT_BEHIND.difference_update({each for each in LEFT_BEHIND.copy() if each.is_over})
    return len(LEFT_BEHIND)


@contextmanager
def deep_stacks() -> Iterator[None]:
    """Let a thread that is started meanwhile recurse as deep as the interpreter allows,
    where the worker has chosen small stacks for its own."""
    before = _thread.stack_size()
    if 0 < before < STACK_BYTES:
        _thread.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        if 0 < before < STACK_BYTES:
            _thread.stack_size(before)


def leave_no_trace(ident: int) -> None:
    """Take back what code has made for the thread that ends: a hub, a dummy thread."""
    with suppress(Exception):
        gevent.destroy_hub_here()
    threading: Any = sys.modules.get("threading")
    with suppress(Exception):
        for key in (ident, threading.get_ident()):
            if type(threading._active.get(key)) is threading._DummyThread:
                threading._active.pop(key)
