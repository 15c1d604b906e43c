"""`ps`: the workers of a host that have an agent, once or as they change.

On a terminal `--watch` draws in place; elsewhere each look is a block of lines, and
with `--json` one line of JSON. Ctrl-C is how one leaves it, so it is no error. Standard
library only: this runs on bare servers.
"""

import argparse
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from liveheap_client import roster, workers
from liveheap_client import target as targets
from liveheap_client.arguments import (
    Parser,
    add_connecting,
    options,
    parser,
    seconds,
)
from liveheap_client.errors import UsageError
from liveheap_client.render import processes
from liveheap_client.render.escape import drawable
from liveheap_client.target import Kind, Target
from liveheap_client.terminal import Terminal, writing

WATCH_EVERY_S = 2.0
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR, _HIDE, _SHOW = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"

Look = Callable[[], list[dict[str, Any]]]


def main(words: Sequence[str], *, summary: str) -> int:
    """List once, or until Ctrl-C."""
    given = _parser(summary).parse_args(words)
    with ExitStack() as held:
        look = _look(given, held)
        if given.watch is not None:
            return _watch(look, given)
        found = look()
        terminal = Terminal.standard()
        if given.json:
            terminal.show_json(found)
        elif found:
            terminal.show(processes.lines(found, look=terminal.look))
        else:
            terminal.say(_nobody())
    return 0


def _parser(summary: str) -> Parser:
    reader = parser("ps", summary)
    reader.add_argument("target", nargs="?", metavar="HOST", help="ask this host")
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
    target = _target(given)
    if target is None:
        roll = held.enter_context(roster.calling(os.environ))
        return lambda: roster.local(os.environ, roll)
    # Imported here: a list of this machine's workers shall not wait for ssh's code.
    from liveheap_client.dial import remote_workers  # noqa: PLC0415

    how = options(given, say=Terminal.standard().say)
    return lambda: roster.in_order(remote_workers(target, how))


def _target(given: argparse.Namespace) -> Target | None:
    """Return the host to ask; None is this one."""
    if given.target is not None and given.via is not None:
        raise UsageError("HOST and --via exclude each other", hint="liveheap ps --help")
    if given.via is not None:
        return targets.via(given.via)
    if given.target is None:
        return None
    target = targets.parse(given.target)
    if str(target) == targets.HERE:
        return None
    if target.kind is not Kind.SSH or target.pid or target.name:
        raise UsageError(
            f"ps lists the workers of a host; {target} is none",
            hint="liveheap ps, liveheap ps HOST, liveheap status TARGET",
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


def _block(
    found: list[dict[str, Any]], terminal: Terminal, given: argparse.Namespace
) -> None:
    """Print one list below the last one."""
    if given.json:
        with writing():
            print(json.dumps(found, default=str), file=terminal.out, flush=True)
        return
    table = processes.lines(found, look=terminal.look) if found else []
    terminal.show([_headline(found), *table, ""])


def _draw(
    found: list[dict[str, Any]], terminal: Terminal, given: argparse.Namespace
) -> None:
    """Draw one list over the last one; who does not fit is counted."""
    height = shutil.get_terminal_size().lines
    table = processes.lines(found, look=terminal.look) if found else [_nobody()]
    room = max(height - 3, 2)
    if len(table) > room:
        table = [*table[: room - 1], f"... {len(table) - room + 1} more"]
    said = f"{_headline(found)}, every {given.watch:g} s; Ctrl-C ends"
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


def _headline(found: Sequence[dict[str, Any]]) -> str:
    return f"{time.strftime('%H:%M:%S')}  {processes.total(found)}"
