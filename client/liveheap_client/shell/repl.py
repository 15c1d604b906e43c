"""Python that runs elsewhere, typed here: for the console, and for that of a clone.

With a terminal: a prompt with history, completion and lines that go on. Ctrl-C in the
middle of an evaluation raises KeyboardInterrupt in it, and what it writes about that is
still shown; a second one leaves it to itself. Without a terminal all of stdin is one
piece of code, as a program's is.

What comes is somebody else's text. Its newlines and tabs are obeyed, everything else
that is not plainly printable is spelled out.

An evaluation is a callable, made by `asking` for a command that answers as
`commands/evaluating.py` of the agent does; so is a completion.
"""

import codecs
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from liveheap.commands.evaluating import LONGEST_CODE
from liveheap.errors import CommandError, LiveheapError
from liveheap.protocol.messages import Chunk, Progress, Result
from liveheap.protocol.results import Record, Table
from liveheap_client.errors import FAILED, INTERRUPTED, OK, UsageError
from liveheap_client.render import failure
from liveheap_client.session import Session
from liveheap_client.terminal import Terminal

SHORT = 2000
_NAME = re.compile(r"\w*\Z")
_INDENT = re.compile(r"[ \t]*")

Write = Callable[[str], object]
Complete = Callable[[str], list[str]]


class Evaluate(Protocol):
    """Run code, hand out what it writes as it comes; return how it ended.

    `whole`: no further line will follow, so it is never `incomplete`.
    """

    def __call__(self, code: str, *, whole: bool, write: Write) -> Mapping[str, Any]:
        """Run it; the answer has `outcome`: ok, error, exit or incomplete."""
        ...


def asking(
    session: Session, command: str, *, tell: Write = lambda _text: None, **args: Any
) -> Evaluate:
    """Return an evaluation by a command of the agent; `tell` hears what takes long."""

    def evaluate(code: str, *, whole: bool, write: Write) -> Mapping[str, Any]:
        if _n_bytes(code) > SHORT:
            session.request("status")  # only a session's first request has to be short
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        request = {**args, "code": code, "whole": whole}
        with (
            contextlib.closing(session.stream(command, request)) as events,
            _interrupting(session),
        ):
            for event in events:
                if isinstance(event, Chunk):
                    write(decode(bytes(event.data)))
                elif isinstance(event, Progress) and event.detail.get("doing"):
                    tell(str(event.detail["doing"]))
                elif isinstance(event, Result) and isinstance(event.shape, Record):
                    return event.shape.as_dict()
        raise CommandError("failed", f"{command} did not say how it ended")

    return evaluate


def _n_bytes(code: str) -> int:
    """Return how long code is on the wire; UsageError if it cannot go there."""
    try:
        length = len(code.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(f"the code is not text: {exc}") from exc
    if length > LONGEST_CODE:
        raise UsageError(
            f"{length:,} bytes of code; {LONGEST_CODE:,} are taken at once",
            hint="put it into a file of the worker's, and import that",
        )
    return length


def completing(session: Session, command: str, **args: Any) -> Complete:
    """Return a completion by a command of the agent: candidates for the last name."""

    def complete(text: str) -> list[str]:
        shape = session.request(command, {**args, "text": text[-1000:]})
        if not isinstance(shape, Table):
            return []
        return [str(row[0]) for row in shape.rows if row]

    return complete


def converse(
    terminal: Terminal,
    evaluate: Evaluate,
    complete: Complete,
    *,
    title: str,
    banner: Sequence[str],
) -> int:
    """Talk until Ctrl-D or `exit()`; without a terminal, run what stdin holds."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        try:
            code = sys.stdin.read(LONGEST_CODE + 1)
        except UnicodeDecodeError as exc:
            raise UsageError(f"the code is not text: {exc}") from exc
        return run_code(terminal, evaluate, code)
    for line in banner:
        terminal.say(line)
    for code in _prompted(title, complete, terminal):
        try:
            outcome = _evaluate(terminal, evaluate, "\n".join(code), whole=False)
        except (CommandError, UsageError) as error:
            for text in failure.lines(error, prefix=""):
                terminal.say(text)
            outcome = "error"
        except KeyboardInterrupt:
            terminal.say("left to itself")
            outcome = "error"
        if outcome == "exit":
            break
        if outcome != "incomplete":
            code.clear()
    return OK


def run_code(
    terminal: Terminal, evaluate: Evaluate, code: str, *, as_json: bool = False
) -> int:
    """Run one piece of code; return 0, or 1 if it raised or left with a complaint."""
    if as_json:
        pieces: list[str] = []
        answer = evaluate(code, whole=True, write=pieces.append)
        terminal.show_json({"output": "".join(pieces), **answer})
    else:
        screen = _Screen(terminal)
        answer = evaluate(code, whole=True, write=screen.write)
        _tell(terminal, answer)
    if answer.get("raised") == "KeyboardInterrupt":
        return INTERRUPTED
    failed = answer["outcome"] == "error" or answer.get("exit_code")
    return FAILED if failed else OK


def _evaluate(terminal: Terminal, evaluate: Evaluate, code: str, *, whole: bool) -> str:
    screen = _Screen(terminal)
    answer = evaluate(code, whole=whole, write=screen.write)
    screen.end_line()
    _tell(terminal, answer)
    return str(answer["outcome"])


def _tell(terminal: Terminal, answer: Mapping[str, Any]) -> None:
    """Say what is to be known of an answer besides its output."""
    if answer.get("truncated"):
        terminal.say(f"output cut after {answer.get('bytes'):,} bytes")
    if note := answer.get("note"):
        terminal.say(str(note))


class _Screen:
    """Shows foreign text as it comes."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last = "\n"

    def write(self, text: str) -> None:
        if text:
            self._terminal.pour(text)
            self._last = text[-1]

    def end_line(self) -> None:
        if self._last != "\n":
            self.write("\n")


def _prompted(
    title: str, complete: Complete, terminal: Terminal
) -> Iterator[list[str]]:
    """Yield the lines typed so far; who takes them clears the list."""
    # Slow, and only here of use.
    from prompt_toolkit import PromptSession  # noqa: PLC0415
    from prompt_toolkit.completion import (  # noqa: PLC0415
        CompleteEvent,
        Completer,
        Completion,
    )
    from prompt_toolkit.document import Document  # noqa: PLC0415

    from liveheap_client.shell.prompt import history  # noqa: PLC0415

    class NameCompleter(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterator[Completion]:
            typed = document.current_line_before_cursor
            found = _NAME.search(typed)
            name = found.group() if found else ""
            if not typed.strip():
                return
            try:
                candidates = complete(typed)
            except LiveheapError:
                return
            for candidate in candidates:
                if candidate.isprintable():
                    yield Completion(candidate, start_position=-len(name))

    session: PromptSession[str] = PromptSession(
        history=history(os.environ, "console-history"),
        completer=NameCompleter(),
        complete_while_typing=False,
        enable_history_search=True,
    )
    lines: list[str] = []
    while True:
        mark = "... ".rjust(len(title) + 5) if lines else f"{title} >>> "
        try:
            typed = session.prompt(mark, default=_indent(lines))
        except KeyboardInterrupt:
            lines.clear()
            continue
        except EOFError:
            return
        if not lines and not typed.strip():
            continue
        lines.append("" if not typed.strip() else typed)
        yield lines


def _indent(lines: Sequence[str]) -> str:
    """Return what the next line begins with."""
    if not lines or not lines[-1].strip():
        return ""
    found = _INDENT.match(lines[-1])
    indent = found.group() if found else ""
    return indent + "    " if lines[-1].rstrip().endswith(":") else indent


@contextlib.contextmanager
def _interrupting(session: Session) -> Iterator[None]:
    """Have the first Ctrl-C interrupt what runs there, and only the second us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        if not session.interrupt():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
