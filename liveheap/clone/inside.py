"""The program that a copy of the worker runs: answers one evaluation after the other.

It begins with the frames that the parent took, and ends with its socket: when that
closes, or the agent kills it. Nothing here returns into the worker's code, and nothing
raises out: an exception of an evaluation is text for the client.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from liveheap.clone import completing, expressions, free, showing, surroundings, wire
from liveheap.clone.tools import Missing, Tools

RECEIVE_BYTES = 1 << 16
MOST_OUTPUT = 1 << 20
FLUSH_AT = 1 << 15
PACKAGES = {"guppy3": "guppy", "objgraph": "objgraph"}
LEAVES = ("exit", "exit()", "quit", "quit()")
OK, INCOMPLETE, ERROR, EXIT = "ok", "incomplete", "error", "exit"


class Channel:
    """The socket to the agent. Ctrl-C never falls into the middle of a message."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._inbox = wire.Inbox()
        self._guarded = True
        self._wanted = False

    def on_interrupt(self, *_: object) -> None:
        """What SIGINT calls: KeyboardInterrupt, where one may be raised."""
        if self._guarded:
            self._wanted = True
        else:
            raise KeyboardInterrupt

    def send(self, kind: str, content: Any) -> None:
        """Send a message, whole."""
        before, self._guarded = self._guarded, True
        try:
            self._socket.sendall(wire.pack(kind, content))
        finally:
            self._guarded = before
        if self._wanted and not before:
            self._wanted = False
            raise KeyboardInterrupt

    def receive(self) -> tuple[str, Any] | None:
        """Wait for a message; None at the end."""
        while (message := self._inbox.take()) is None:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                return None
            self._inbox.put(data)
        return message

    def interruptible(self, run: Callable[[], str]) -> str:
        """Run something into which Ctrl-C may fall."""
        self._wanted = False
        try:
            self._guarded = False
            return run()
        finally:
            self._guarded = True


class Output:
    """`sys.stdout` of the copy: bounded, and sent as it is written."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pieces: list[str] = []
        self._size = 0
        self._left = MOST_OUTPUT
        self.truncated = False

    def begin(self, limit: int) -> None:
        """Forget what is left of the last evaluation."""
        self._pieces, self._size, self._left = [], 0, limit
        self.truncated = False

    def write(self, text: str) -> int:
        """Take text; beyond the bound, drop it."""
        if not isinstance(text, str):
            raise TypeError("write() takes text")
        kept = text[: self._left]
        self.truncated = self.truncated or len(kept) < len(text)
        self._left -= len(kept)
        self._pieces.append(kept)
        self._size += len(kept)
        if self._size >= FLUSH_AT:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what there is."""
        if self._pieces:
            text, self._pieces, self._size = "".join(self._pieces), [], 0
            for start in range(0, len(text), FLUSH_AT):
                piece = text[start : start + FLUSH_AT]
                self._channel.send(wire.TEXT, piece.encode("utf-8", "replace"))

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def writable(self) -> bool:
        """It can be written to."""
        return True


class Program:
    """What a copy does."""

    def __init__(
        self, sock: _socket.socket, own_threads: frozenset[int], *, is_free: bool
    ) -> None:
        self._socket = sock
        self._own_threads = own_threads
        self._is_free = is_free

    def __call__(self, threads: Mapping[int, FrameType]) -> None:
        """Answer until the end. Called by the engine, in the copy."""
        self._socket.setblocking(True)
        self._channel = Channel(self._socket)
        self._output = Output(self._channel)
        surroundings.settle(self._output, self._channel.on_interrupt)
        ours: set[int] = {id(threads)}
        tools = Tools(threads, self._own_threads, self._note, ours)
        self._tools = tools
        self._evaluator = expressions.Evaluator(tools)
        self._evaluator.ours = ours
        self._free = free.Interpreter(tools) if self._is_free else None
        found = {name: has(module) for name, module in PACKAGES.items()}
        self._channel.send(wire.READY, found)
        while (message := self._channel.receive()) is not None:
            kind, content = message
            if kind == wire.ASK:
                self._answer(**content)
            elif kind == wire.COMPLETE:
                self._complete(content)

    def _note(self, text: str) -> None:
        self._channel.send(wire.NOTE, text)

    def _answer(self, code: str, whole: bool, max_output: int) -> None:
        self._output.begin(max_output)
        self._tools.pictures.clear()
        raised = None
        try:
            outcome = self._channel.interruptible(lambda: self._evaluate(code, whole))
        except KeyboardInterrupt:
            outcome, raised = ERROR, "KeyboardInterrupt"
            self._output.write("KeyboardInterrupt\n")
        except BaseException as exc:
            outcome, raised = ERROR, type(exc).__name__
            self._output.write(f"{raised}\n")
        self._output.flush()
        answer = {
            "outcome": outcome,
            "raised": raised,
            "truncated": self._output.truncated,
            "pictures": self._tools.pictures,
        }
        self._channel.send(wire.DONE, answer)

    def _evaluate(self, code: str, whole: bool) -> str:
        if self._free is not None:
            return self._free.run(code, self._output, whole=whole)
        try:
            if code.strip() in LEAVES:
                return EXIT
            tree = expressions.parse(code.strip(), whole=whole)
            if tree is None:
                return INCOMPLETE
            for value in self._evaluator.run(tree):
                shown = repr if expressions.is_heapy(value) else showing.brief
                self._output.write(f"{shown(value)}\n")
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._output.write(f"{in_words(exc)}\n")
            return ERROR
        return OK

    def _complete(self, text: str) -> None:
        found: list[str] = []
        try:
            if self._free is not None:
                found = completing.python(text, self._free.names)
            else:
                found = completing.expression(text, self._evaluator.names)
        except BaseException:
            found = []
        self._channel.send(wire.DONE, found[: completing.MOST])


def in_words(exc: BaseException) -> str:
    """Say what hindered an expression."""
    if isinstance(exc, (expressions.Refused, Missing)):
        return f"not here: {exc}"
    if isinstance(exc, SyntaxError):
        return f"SyntaxError: {exc.msg}"
    if isinstance(exc, MemoryError):
        return "MemoryError: the copy may not grow any further"
    return f"{type(exc).__name__}: {exc}"


def has(module: str) -> bool:
    """Whether a module can be found, without loading it."""
    from importlib.util import find_spec  # noqa: PLC0415 -- in the copy only

    try:
        return find_spec(module) is not None
    except Exception:
        return False
