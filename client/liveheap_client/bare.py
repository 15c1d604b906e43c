"""`ps`, `run`, `inject` and `bridge`: the verbs of a bare server, where no extra is
installed.

argparse and the standard library only. Everything else of the command line is in `cli`
and needs the extra `cli`.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from liveheap.protocol.auth import VERSION, Scope
from liveheap.protocol.results import Column
from liveheap_client import bridge, launch, workers
from liveheap_client import target as targets
from liveheap_client.dial import CONNECT_TIMEOUT_S, DialOptions, remote_workers
from liveheap_client.errors import UsageError
from liveheap_client.inject import command as injecting
from liveheap_client.patience import TIMEOUT_S, Patience
from liveheap_client.reach import Reach
from liveheap_client.render.escape import visible
from liveheap_client.render.table import table
from liveheap_client.target import Kind
from liveheap_client.terminal import Terminal

SUMMARIES = {
    "ps": "List the workers that have an agent, here or on HOST.",
    "run": "Run a command with an agent in every Python process it starts.",
    "inject": "Bring an agent into a running worker that has none.",
    "bridge": "Relay a session over stdin and stdout; ssh runs this on a host.",
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def main(verb: str, words: Sequence[str]) -> int:
    """Run one of the bare verbs; return its exit code."""
    verbs: dict[str, Callable[[Sequence[str]], int]] = {
        "ps": _ps,
        "run": _run,
        "inject": _inject,
        "bridge": _bridge,
    }
    return verbs[verb](words)


def _parser(verb: str, usage: str | None = None) -> _Parser:
    return _Parser(
        prog=f"liveheap {verb}",
        usage=usage,
        description=SUMMARIES[verb],
        allow_abbrev=False,
    )


def _seconds(text: str) -> float:
    """Return a time to wait; for argparse, which names the option that has it wrong."""
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"not a time in seconds: {text!r}")


def _run(words: Sequence[str]) -> int:
    parser = _parser("run", "liveheap run [-h] [--name NAME] [--] CMD [ARG ...]")
    parser.add_argument("--name", help="what ps calls the worker: LIVEHEAP_NAME")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD", help="and its arguments"
    )
    given = parser.parse_args(words)
    command = given.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise UsageError("run needs a command", hint="liveheap run -- python app.py")
    settings = {"LIVEHEAP_NAME": given.name} if given.name else {}
    return launch.replace_process(command, {**os.environ, **settings})


def _inject(words: Sequence[str]) -> int:
    parser = _parser("inject")
    parser.add_argument("pid", type=int, metavar="PID", help="a process here")
    parser.add_argument("--yes", action="store_true", help="do not ask first")
    parser.add_argument(
        "--agent",
        type=Path,
        metavar="DIR_OR_WHEEL",
        help="the agent to bring, where the worker's Python is not this one",
    )
    parser.add_argument("--json", action="store_true", help="say as JSON what was done")
    given = parser.parse_args(words)
    terminal = Terminal.standard()
    say = (lambda _text: None) if given.json else terminal.say
    arrival = injecting.inject(given.pid, yes=given.yes, agent=given.agent, say=say)
    if given.json:
        terminal.show_json(injecting.as_json(given.pid, arrival))
    elif arrival is None:
        terminal.show([f"process {given.pid} has an agent already"])
    else:
        terminal.show(injecting.summary(arrival))
    return 0


def _bridge(words: Sequence[str]) -> int:
    parser = _parser("bridge", "liveheap bridge [-h] [OPTION ...]")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pid", type=int, help="the worker of this process id")
    which.add_argument("--name", help="the worker of this name or program")
    which.add_argument("--port", type=int, help="an agent's loopback port")
    which.add_argument("--socket", metavar="PATH", help="an agent's socket")
    which.add_argument("--list", action="store_true", help="list the workers, end")
    parser.add_argument(
        "--scope",
        default="read",
        choices=[scope.label for scope in Scope],
        help="what the session may ask for (default: read)",
    )
    parser.add_argument(
        "--protocol",
        type=int,
        default=VERSION,
        metavar="N",
        help="the highest protocol the client speaks",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT_S,
        metavar="S",
        help="give up after this long without a word from the agent",
    )
    given = parser.parse_args(words)
    if given.list:
        return bridge.list_workers(os.environ)
    wanted = bridge.Wanted(given.pid, given.name, given.port, given.socket)
    how = Reach(
        environ=os.environ,
        scope=Scope[given.scope.upper()],
        patience=Patience(timeout_s=given.timeout),
        max_version=min(given.protocol, VERSION),
    )
    return bridge.serve(wanted, how)


def _ps(words: Sequence[str]) -> int:
    parser = _parser("ps")
    parser.add_argument("target", nargs="?", metavar="HOST", help="ask this host")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--via", metavar="CMD", help="ask the bridge CMD runs")
    parser.add_argument(
        "--connect-timeout",
        type=_seconds,
        default=CONNECT_TIMEOUT_S,
        metavar="S",
        help=f"give up if no connection stands after this long ({CONNECT_TIMEOUT_S:g})",
    )
    parser.add_argument("--no-mux", action="store_true", help="share no connection")
    parser.add_argument(
        "--remote-command", metavar="CMD", help="liveheap's name on that host"
    )
    given = parser.parse_args(words)
    found = _found(given)
    terminal = Terminal.standard()
    if given.json:
        terminal.show_json(found)
        return 0
    if not found:
        terminal.say(f"no worker with an agent is running; {workers.START_HINT}")
        return 0
    terminal.show(ps_lines(found, terminal))
    return 0


def _found(given: argparse.Namespace) -> list[dict[str, Any]]:
    if given.target is not None and given.via is not None:
        raise UsageError("HOST and --via exclude each other", hint="liveheap ps --help")
    if given.target is None and given.via is None:
        return [worker.to_json() for worker in workers.local(os.environ)]
    by_host = given.via is None
    target = targets.parse(given.target) if by_host else targets.via(given.via)
    if str(target) == targets.HERE:
        return [worker.to_json() for worker in workers.local(os.environ)]
    if target.kind not in (Kind.SSH, Kind.VIA) or target.pid or target.name:
        raise UsageError(
            f"ps lists the workers of a host; {target} is none",
            hint="liveheap ps, liveheap ps HOST, liveheap status TARGET",
        )
    options = DialOptions(
        connect_timeout_s=given.connect_timeout,
        multiplex=not given.no_mux,
        remote_command=given.remote_command,
    )
    return remote_workers(target, options)


_PS_COLUMNS = (
    Column("pid", "id"),
    Column("program", "text"),
    Column("kind", "text"),
    Column("framework", "text"),
    Column("python", "text"),
    Column("rss", "bytes"),
    Column("uptime", "seconds"),
)


def ps_lines(found: Sequence[dict[str, Any]], terminal: Terminal) -> list[str]:
    """Return the table of workers."""
    rows = [
        [
            worker.get("pid"),
            worker.get("name") or worker.get("program"),
            *(worker.get(column.name) for column in _PS_COLUMNS[2:]),
        ]
        for worker in found
    ]
    return table(_PS_COLUMNS, rows, look=terminal.look)


def help_lines() -> list[str]:
    """Return the help of an installation without the extra."""
    lines = ["usage: liveheap VERB ...", ""]
    lines += [f"  {verb:8} {text}" for verb, text in SUMMARIES.items()]
    lines += ["", "All other verbs need the extra: pip install 'liveheap[cli]'"]
    return [visible(line) for line in lines]
