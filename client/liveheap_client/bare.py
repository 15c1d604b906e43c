"""The verbs of a bare server, where no extra is installed.

argparse and the standard library only. Everything else of the command line is in `cli`
and needs the extra `cli`.

Whatever is called passes through here, so each verb imports what it needs when it runs:
a list of workers shall not wait for the injector to be read.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from liveheap_client.arguments import parser, seconds
from liveheap_client.errors import UsageError
from liveheap_client.render.escape import visible

SUMMARIES = {
    "ps": "List the workers that have an agent, here or on HOST.",
    "run": "Run a command with an agent in every Python process it starts.",
    "inject": "Bring an agent into a running worker that has none.",
    "doctor": "Say what hinders liveheap here, on HOST or in PID, and what to type.",
    "gateway": "Lead to this user's workers from one loopback port.",
    "bridge": "Relay a session over stdin and stdout; ssh runs this on a host.",
    "stop": "Switch an agent off until its worker starts anew; --all: all here.",
    "token": "Say where the token is, print a key to hand out, replace the token.",
}


def main(verb: str, words: Sequence[str]) -> int:
    """Run one of the bare verbs; return its exit code."""
    verbs: dict[str, Callable[[Sequence[str]], int]] = {
        "ps": _ps,
        "run": _run,
        "inject": _inject,
        "doctor": _doctor,
        "gateway": _gateway,
        "bridge": _bridge,
        "stop": _stop,
        "token": _token,
    }
    return verbs[verb](words)


def _ps(words: Sequence[str]) -> int:
    from liveheap_client import ps  # noqa: PLC0415 - see above

    return ps.main(words, summary=SUMMARIES["ps"])


def _run(words: Sequence[str]) -> int:
    from liveheap_client import launch  # noqa: PLC0415 - see above

    reader = parser(
        "run", SUMMARIES["run"], "liveheap run [-h] [--name NAME] [--] CMD [ARG ...]"
    )
    reader.add_argument("--name", help="what ps calls the worker: LIVEHEAP_NAME")
    reader.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD", help="and its arguments"
    )
    given = reader.parse_args(words)
    command = given.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise UsageError("run needs a command", hint="liveheap run -- python app.py")
    settings = {"LIVEHEAP_NAME": given.name} if given.name else {}
    return launch.replace_process(command, {**os.environ, **settings})


def _inject(words: Sequence[str]) -> int:
    from liveheap_client.inject import command as injecting  # noqa: PLC0415 - see above
    from liveheap_client.terminal import Terminal  # noqa: PLC0415

    reader = parser("inject", SUMMARIES["inject"])
    reader.add_argument("pid", type=int, metavar="PID", help="a process here")
    reader.add_argument("--yes", action="store_true", help="do not ask first")
    reader.add_argument(
        "--agent",
        type=Path,
        metavar="DIR_OR_WHEEL",
        help="the agent to bring, where the worker's Python is not this one",
    )
    reader.add_argument("--json", action="store_true", help="say as JSON what was done")
    given = reader.parse_args(words)
    terminal = Terminal.standard()
    say = (lambda _text: None) if given.json else terminal.say
    arrival = injecting.inject(given.pid, yes=given.yes, agent=given.agent, say=say)
    if given.json:
        terminal.show_json(injecting.as_json(given.pid, arrival))
    elif arrival is None:
        terminal.show([f"process {given.pid} has an agent already"])
    else:
        told = injecting.summary(arrival)
        terminal.show(visible(line, longest=1000) for line in told)
    return 0


def _doctor(words: Sequence[str]) -> int:
    from liveheap_client.doctor import command  # noqa: PLC0415 - see above

    return command.main(words, summary=SUMMARIES["doctor"])


def _bridge(words: Sequence[str]) -> int:
    from liveheap.protocol.auth import VERSION, Scope  # noqa: PLC0415 - see above
    from liveheap_client import bridge  # noqa: PLC0415
    from liveheap_client.patience import TIMEOUT_S, Patience  # noqa: PLC0415
    from liveheap_client.reach import Reach  # noqa: PLC0415

    reader = parser("bridge", SUMMARIES["bridge"], "liveheap bridge [-h] [OPTION ...]")
    which = reader.add_mutually_exclusive_group()
    which.add_argument("--pid", type=int, help="the worker of this process id")
    which.add_argument("--name", help="the worker of this name or program")
    which.add_argument("--port", type=int, help="an agent's loopback port")
    which.add_argument("--socket", metavar="PATH", help="an agent's socket")
    which.add_argument("--list", action="store_true", help="list the workers, end")
    access = reader.add_mutually_exclusive_group()
    access.add_argument(
        "--scope",
        default="read",
        choices=[scope.label for scope in Scope],
        help="what the session may ask for (default: read)",
    )
    access.add_argument(
        "--raw",
        action="store_true",
        help="connect, and leave the handshake to the client and a key of its own",
    )
    reader.add_argument(
        "--protocol",
        type=int,
        default=VERSION,
        metavar="N",
        help="the highest protocol the client speaks",
    )
    reader.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT_S,
        metavar="S",
        help="give up after this long without a word from the agent",
    )
    given = reader.parse_args(words)
    if given.list:
        return bridge.list_workers(os.environ)
    wanted = bridge.Wanted(given.pid, given.name, given.port, given.socket)
    how = Reach(
        environ=os.environ,
        scope=Scope[given.scope.upper()],
        patience=Patience(timeout_s=given.timeout),
        max_version=min(given.protocol, VERSION),
    )
    return bridge.serve(wanted, how, raw=given.raw)


def _stop(words: Sequence[str]) -> int:
    from liveheap_client import stopping  # noqa: PLC0415 - see above

    return stopping.main(words, summary=SUMMARIES["stop"])


def _gateway(words: Sequence[str]) -> int:
    from liveheap.protocol.auth import Scope  # noqa: PLC0415 - see above
    from liveheap_client.gateway import Gateway, address  # noqa: PLC0415
    from liveheap_client.terminal import Terminal  # noqa: PLC0415

    reader = parser("gateway", SUMMARIES["gateway"])
    reader.add_argument(
        "--listen",
        required=True,
        metavar="127.0.0.1:PORT",
        help="where; no other address than this machine's own",
    )
    reader.add_argument(
        "--allow",
        default="graph",
        choices=[scope.label for scope in Scope],
        help="the highest scope to grant, if the worker does too (default: graph)",
    )
    given = reader.parse_args(words)
    place = address(given.listen)
    gateway = Gateway(place, dict(os.environ), Scope[given.allow.upper()])
    try:
        Terminal.standard().say(f"listening on {gateway.place}; Ctrl-C ends it")
        gateway.serve()
    except (KeyboardInterrupt, SystemExit):
        pass  # the ways to end it
    finally:
        gateway.close()
    return 0


def _token(words: Sequence[str]) -> int:
    from liveheap_client import handout  # noqa: PLC0415 - see above

    return handout.main(words, summary=SUMMARIES["token"])


def help_lines() -> list[str]:
    """Return the help of an installation without the extra."""
    lines = ["usage: liveheap VERB ...", ""]
    lines += [f"  {verb:8} {text}" for verb, text in SUMMARIES.items()]
    lines += ["", "All other verbs need the extra: pip install 'liveheap[cli]'"]
    return [visible(line) for line in lines]
