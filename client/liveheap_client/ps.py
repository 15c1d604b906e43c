"""`ps`: the workers of one host or more that have an agent, once or as they change.

On a terminal `--watch` draws in place; elsewhere each look is a block of lines, and
with `--json` one line of JSON. Ctrl-C is how one leaves it, so it is no error. Several
hosts are asked side by side and without a prompt; one that fails has a line of its own,
an entry in the JSON, and its exit code. Standard library only: this runs on bare
servers.
"""

import argparse
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from liveheap_client import abreast, roster, workers
from liveheap_client import target as targets
from liveheap_client.abreast import Answer
from liveheap_client.arguments import (
    Parser,
    add_connecting,
    options,
    parser,
    seconds,
)
from liveheap_client.errors import OK, UsageError, exit_code
from liveheap_client.render import processes
from liveheap_client.render.escape import drawable, visible
from liveheap_client.streams import writing
from liveheap_client.target import Kind, Target
from liveheap_client.terminal import Terminal

WATCH_EVERY_S = 2.0
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR, _HIDE, _SHOW = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """The workers of all hosts that answered, and the hosts that did not."""

    rows: list[Row]
    failures: Sequence[Answer[list[Row]]] = ()
    hosts: int = 1

    def to_json(self) -> list[Row]:
        """Return the rows, and an entry for each host that failed."""
        return self.rows + [
            {
                "host": answer.host,
                "error": answer.failure,
                "hint": answer.error and answer.error.hint,
            }
            for answer in self.failures
        ]

    def told(self) -> list[str]:
        """Return a line for each host that failed."""
        return [f"{answer.host}: {answer.failure}" for answer in self.failures]

    def code(self) -> int:
        """Return the exit code of the first host that failed."""
        errors = [answer.error for answer in self.failures if answer.error]
        return exit_code(errors[0]) if errors else OK


Look = Callable[[], Seen]


def main(words: Sequence[str], *, summary: str) -> int:
    """List once, or until Ctrl-C."""
    given = _parser(summary).parse_args(words)
    with ExitStack() as held:
        look = _look(given, held)
        if given.watch is not None:
            return _watch(look, given)
        seen = look()
        terminal = Terminal.standard()
        if given.json:
            terminal.show_json(seen.to_json())
        elif seen.rows:
            terminal.show(processes.lines(seen.rows, look=terminal.look))
        elif not seen.failures:
            terminal.say(_nobody())
        for line in seen.told():
            terminal.say(line)
        return seen.code()


def _parser(summary: str) -> Parser:
    reader = parser("ps", summary)
    reader.add_argument("targets", nargs="*", metavar="HOST", help="ask these hosts")
    reader.add_argument("--json", action="store_true", help="one JSON list")
    reader.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=WATCH_EVERY_S,
        metavar="S",
        help=f"list again every S seconds ({WATCH_EVERY_S:g}), until Ctrl-C",
    )
    reader.add_argument("--via", metavar="CMD", help="ask the bridge CMD runs")
    add_connecting(reader)
    return reader


def _look(given: argparse.Namespace, held: ExitStack) -> Look:
    """Return what makes one list; what it needs open is closed with `held`."""
    asked = _targets(given)
    roll = held.enter_context(roster.calling(os.environ)) if None in asked else None
    if asked == [None]:
        return lambda: Seen(roster.local(os.environ, roll))
    # Imported here: a list of this machine's workers shall not wait for ssh's code.
    from liveheap_client.dial import remote_workers  # noqa: PLC0415

    how = options(given, say=Terminal.standard().say)

    def rows(target: Target | None) -> list[Row]:
        if target is None:
            return roster.local(os.environ, roll)
        return roster.in_order(remote_workers(target, how))

    if len(asked) == 1:
        return lambda: Seen(rows(asked[0]))
    how = how.abreast()  # eight prompts at once serve nobody
    by_name = {str(target or targets.HERE): target for target in asked}
    terminal = Terminal.standard()
    is_watched = terminal.talk_is_watched and given.watch is None
    return lambda: _side_by_side(by_name, rows, Waiting(terminal, is_watched))


def _side_by_side(
    by_name: Mapping[str, Target | None],
    rows: Callable[[Target | None], list[Row]],
    waiting: "Waiting",
) -> Seen:
    """Ask all hosts at once; on a terminal, say how many have answered."""
    with waiting:
        answers = abreast.ask(
            list(by_name),
            lambda name: rows(by_name[name]),
            on_answer=lambda count: waiting.say(count, len(by_name)),
        )
    found = [
        {**row, "host": answer.host} for answer in answers for row in answer.found or ()
    ]
    failed = [answer for answer in answers if answer.error is not None]
    return Seen(found, failed, len(by_name))


class Waiting:
    """One line on a terminal while hosts are asked; nothing elsewhere."""

    def __init__(self, terminal: Terminal, is_watched: bool) -> None:
        self._terminal = terminal
        self._is_watched = is_watched

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._write("")

    def say(self, answered: int, hosts: int) -> None:
        """Say how many hosts have answered."""
        self._write(f"{answered} of {hosts} hosts have answered")

    def _write(self, text: str) -> None:
        if self._is_watched:
            with suppress(OSError):
                self._terminal.talk.write(f"\r{text}{_TO_END_OF_LINE}")
                self._terminal.talk.flush()


def _targets(given: argparse.Namespace) -> list[Target | None]:
    """Return the hosts to ask; None is this one."""
    if given.targets and given.via is not None:
        raise UsageError("HOST and --via exclude each other", hint="liveheap ps --help")
    if given.via is not None:
        return [targets.via(given.via)]
    return [_host(text) for text in dict.fromkeys(given.targets)] or [None]


def _host(text: str) -> Target | None:
    target = targets.parse(text)
    if str(target) == targets.HERE:
        return None
    if target.kind not in (Kind.SSH, Kind.PORT) or target.pid or target.name:
        raise UsageError(
            f"ps lists the workers of a host; {target} is none",
            hint="liveheap ps, ps HOST ..., ps HOST:PORT; liveheap status TARGET",
        )
    return target


def _nobody() -> str:
    return f"no worker with an agent is running; {workers.start_hint()}"


def _watch(look: Look, given: argparse.Namespace) -> int:
    """List again and again; Ctrl-C is the way out."""
    terminal = Terminal.standard()
    in_place = terminal.look.human and os.environ.get("TERM") != "dumb"
    show = _draw if in_place and not given.json else _block
    try:
        with _screen(terminal) if show is _draw else ExitStack():
            while True:
                began = time.monotonic()
                show(look(), Terminal.standard(), given)
                left = began + given.watch - time.monotonic()
                threading.Event().wait(max(left, 0.05))
    except KeyboardInterrupt:
        return 0


def _block(seen: Seen, terminal: Terminal, given: argparse.Namespace) -> None:
    """Print one list below the last one."""
    if given.json:
        with writing():
            text = json.dumps(seen.to_json(), default=str)
            print(text, file=terminal.out, flush=True)
        return
    table = processes.lines(seen.rows, look=terminal.look) if seen.rows else []
    failed = map(visible, seen.told())
    terminal.show([_headline(seen), *table, *failed, ""])


def _draw(seen: Seen, terminal: Terminal, given: argparse.Namespace) -> None:
    """Draw one list over the last one; who does not fit is counted."""
    height = shutil.get_terminal_size().lines
    table = [_nobody()] if not seen.failures else []
    if seen.rows:
        table = processes.lines(seen.rows, look=terminal.look)
    failed = [visible(line)[: terminal.look.width] for line in seen.told()]
    room = max(height - 3 - len(failed), 2)
    if len(table) > room:
        table = [*table[: room - 1], f"... {len(table) - room + 1} more"]
    table += failed
    said = f"{_headline(seen)}, every {given.watch:g} s; Ctrl-C ends"
    drawn = "".join(
        f"{drawable(line, encoding=terminal.out.encoding)}{_TO_END_OF_LINE}\r\n"
        for line in (said[: terminal.look.width], *table)
    )
    with writing():
        terminal.out.write(f"{_HOME}{drawn}{_TO_END}")
        terminal.out.flush()


@contextmanager
def _screen(terminal: Terminal) -> Iterator[None]:
    """Clear the screen, hide the cursor, and leave the last list standing."""
    with writing():
        terminal.out.write(f"{_HIDE}{_CLEAR}")
    try:
        yield
    finally:
        with writing():
            terminal.out.write(_SHOW)
            terminal.out.flush()


def _headline(seen: Seen) -> str:
    told = processes.total(seen.rows)
    if seen.hosts > 1:
        told += f" on {seen.hosts - len(seen.failures)} of {seen.hosts} hosts"
    return f"{time.strftime('%H:%M:%S')}  {told}"
