"""`liveheap doctor [TARGET|HOST|PID]`: its words, its answer as text and as JSON."""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liveheap import __version__
from liveheap_client import target as targets
from liveheap_client import workers
from liveheap_client.arguments import Parser, add_connecting, options, parser
from liveheap_client.dial import DialOptions
from liveheap_client.doctor import agent, checkup, far, journey
from liveheap_client.doctor.finding import Finding, State, problem
from liveheap_client.errors import FAILED, OK, ConnectError, UsageError
from liveheap_client.render.escape import visible
from liveheap_client.target import HERE, Kind, Target
from liveheap_client.terminal import Terminal

_LONGEST = 1000
_MARKS = {State.OK: "ok", State.NOTE: "note", State.PROBLEM: "PROBLEM"}


def main(words: Sequence[str], *, summary: str) -> int:
    """Look, show, and return 1 if something is in the way."""
    given = _parser(summary).parse_args(words)
    target = _target(given)
    terminal = Terminal.standard()
    found = []
    for finding in examine(target, options(given, say=terminal.say)):
        found.append(finding)
        if not given.json:
            terminal.show(_lines(finding))
    if given.json:
        terminal.show_json(as_json(target, found))
    else:
        terminal.show(["", _sum(found)])
    return FAILED if _problems(found) else OK


def _parser(summary: str) -> Parser:
    reader = parser("doctor", summary)
    reader.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help=f"a PID, a HOST, or any other target ({targets.FORMS}); this machine",
    )
    reader.add_argument("--json", action="store_true", help="one JSON object")
    reader.add_argument("--via", metavar="CMD", help="look behind the bridge CMD runs")
    add_connecting(reader)
    return reader


def _target(given: argparse.Namespace) -> Target | None:
    """Return what to look at; None is this machine."""
    if given.target is not None and given.via is not None:
        raise UsageError(
            "TARGET and --via exclude each other", hint="liveheap doctor --help"
        )
    if given.via is not None:
        return targets.via(given.via)
    if given.target in (None, HERE):
        return None
    return targets.parse(given.target)


def examine(target: Target | None, how: DialOptions) -> Iterator[Finding]:
    """Yield what is found, as it is found."""
    environ = how.environ
    if target is None:
        yield from checkup.of_machine(environ)
    elif target.kind in (Kind.SSH, Kind.VIA) or _is_far(target):
        yield from far.judge(journey.look(target, how))
    elif target.kind is Kind.UNIX:
        assert target.path is not None
        facts = agent.look_at_path(target.path, environ)
        yield from checkup.of_socket(facts, environ)
    elif target.kind is Kind.PORT:
        assert target.host is not None
        assert target.port is not None
        facts = agent.look_at_port(target.host, target.port, environ)
        yield from checkup.of_socket(facts, environ)
    else:
        yield from _local(target, environ)


def _is_far(target: Target) -> bool:
    return (
        target.kind is Kind.PORT
        and target.host is not None
        and not targets.is_this_machine(target.host)
    )


def _local(target: Target, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at a process; a name is one that the registry knows."""
    if target.pid is not None:
        yield from checkup.of_process(target.pid, environ)
        return
    assert target.name is not None
    try:
        worker = workers.by_name(workers.local(environ), target.name)
    except (ConnectError, UsageError) as error:
        yield problem("agent", str(error), error.hint or "liveheap ps")
        yield from checkup.of_machine(environ)
        return
    yield from checkup.of_process(worker.pid, environ)


def as_json(target: Target | None, found: Sequence[Finding]) -> dict[str, Any]:
    """Return what --json prints; what another doctor reads over ssh."""
    return {
        journey.MAGIC: 1,
        "version": __version__,
        "hostname": os.uname().nodename,
        "target": None if target is None else str(target),
        "problems": _problems(found),
        "findings": [finding.to_json() for finding in found],
    }


def _lines(finding: Finding) -> Iterator[str]:
    """Yield a finding: its state, what it is of, the sentence; below it the hint."""
    mark = _MARKS[finding.state].ljust(8)
    said = visible(finding.said, longest=_LONGEST)
    yield f"{mark} {visible(finding.check).ljust(11)} {said}"
    if finding.hint is not None:
        yield f"{'':21}try: {visible(finding.hint, longest=_LONGEST)}"


def _problems(found: Sequence[Finding]) -> int:
    return sum(finding.state is State.PROBLEM for finding in found)


def _sum(found: Sequence[Finding]) -> str:
    n = _problems(found)
    if not n:
        return "nothing is in the way"
    return f"{n} {'problem' if n == 1 else 'problems'}"
