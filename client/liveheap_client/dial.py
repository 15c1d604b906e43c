"""From a target to a link: the one place that knows every way to an agent.

Local targets shake hands here. For all others a bridge at the far end has done so, on
the machine where the token lies; its greeting says who answers and what was agreed,
and ssh, or the command behind --via, vouches for it. Where there is no liveheap to be
the bridge, python3 gets a program of ours that stands in for it. Whoever was handed a
key asks for a raw bridge and shakes hands from here, through it.
"""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Agreed, Ident, Scope
from liveheap_client import asker, behind, bridged, credentials, reach, workers
from liveheap_client import patience as waiting
from liveheap_client import target as targets
from liveheap_client.errand import Errand
from liveheap_client.errors import (
    ConnectError,
    NoLiveheap,
    SSHError,
    TimedOut,
    TransportError,
    Unexplained,
)
from liveheap_client.patience import Patience
from liveheap_client.reach import Expected, Reach
from liveheap_client.target import HERE, Kind, Target
from liveheap_client.transport import sending, ssh, via
from liveheap_client.transport.base import Transport
from liveheap_client.transport.command import CommandTransport, last_lines
from liveheap_client.transport.greeting import GreetingReader
from liveheap_client.workers import Worker

CONNECT_TIMEOUT_S = 15.0
UNGREETED_S = 3.0
_PASSWORD_TIMEOUT_S = 120.0


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How to connect, apart from where."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    patience: Patience = field(default_factory=Patience)
    multiplex: bool = True
    remote_command: str | None = None
    has_terminal: bool = field(default_factory=_has_terminal)
    bare: set[str] = field(default_factory=set)
    """Where no liveheap was found, so that it is looked for once."""
    ungreeted_s: float = UNGREETED_S
    """When to say that nobody has greeted yet."""

    def tell(self, message: str) -> None:
        """Tell a person that nothing comes, but not into a password that is typed."""
        if not (self.has_terminal and waiting.is_typed_unseen()):
            self.patience.say(message)

    def abreast(self) -> "DialOptions":
        """Return how to connect to several at once: no prompts, no word of each."""
        return replace(self, has_terminal=False, ungreeted_s=math.inf)


@dataclass(frozen=True, slots=True)
class Link:
    """A stream to a proven agent. `local_pid`: the worker's, if it runs here.

    `told`: what is known of who asks, on the side where the agent is.
    """

    transport: Transport
    agreed: Agreed
    trailing: bytes
    local_pid: int | None
    told: Mapping[str, str] = field(default_factory=dict)


def choose(text: str | None, environ: Mapping[str, str]) -> Target:
    """Return the target that was typed, or `$LIVEHEAP_TARGET`, or the only worker."""
    text = text or environ.get("LIVEHEAP_TARGET") or None
    if text is not None:
        return targets.parse(text)
    worker = workers.only(workers.local(environ))
    return targets.parse(str(worker.pid))


def dial(target: Target, *, scope: Scope, options: DialOptions) -> Link:
    """Connect to the agent a target names, with a session of that scope."""
    link = _dial(target, scope, options)
    try:
        if not behind.is_gateway(link.agreed):
            behind.check_agent(link.agreed, target)
            return link
        agreed = _gate(link, target, options).enter()
    except BaseException:
        link.transport.close()
        raise
    return Link(link.transport, agreed, b"", None, link.told)


def _dial(target: Target, scope: Scope, options: DialOptions) -> Link:
    if target.kind in (Kind.SSH, Kind.VIA) or _is_far_port(target):
        return _through_bridge(target, scope, options)
    how = _reach(scope, options)
    if target.kind is Kind.LOCAL:
        local = reach.worker(_local(target, options.environ), how)
    elif target.kind is Kind.UNIX:
        assert target.path is not None
        local = reach.path(target.path, how)
    else:
        assert target.host is not None
        assert target.port is not None
        local = reach.port(target.host, target.port, how)
    pid = target.pid if target.kind is Kind.LOCAL else None
    told = asker.told_of(options.environ)
    return Link(local.transport, local.agreed, local.trailing, pid, told)


def _reach(scope: Scope, options: DialOptions) -> Reach:
    return Reach(
        environ=options.environ,
        scope=scope,
        connect_timeout_s=options.connect_timeout_s,
        patience=options.patience,
    )


def _local(target: Target, environ: Mapping[str, str]) -> Worker:
    """Return the worker of this machine that a target names."""
    found = workers.local(environ)
    if target.pid is not None:
        return workers.by_pid(found, target.pid)
    if target.name is not None:
        return workers.by_name(found, target.name)
    return workers.only(found)


def remote_workers(target: Target, options: DialOptions) -> list[dict[str, Any]]:
    """Return what a bridge or a gateway lists: the workers of another machine."""
    if target.kind is Kind.PORT:
        return _behind_port(target, options)
    greeted = _greeted(target, Errand(), options)
    greeted.transport.close()
    listed = greeted.fields.get("workers")
    if not isinstance(listed, list):
        raise bridged.no_list(greeted.fields, target)
    return [worker for worker in listed if isinstance(worker, dict)]


def _gate(link: Link, target: Target, options: DialOptions) -> behind.Gate:
    met = link.transport, link.agreed, link.trailing
    return behind.Gate(*met, target, options.patience)


def _behind_port(target: Target, options: DialOptions) -> list[dict[str, Any]]:
    link = _dial(target, Scope.READ, options)
    try:
        if not behind.is_gateway(link.agreed):
            raise ConnectError(
                f"{target} is an agent's port, and no gateway's: it lists nobody",
                hint=f"liveheap status {target}",
            )
        return _gate(link, target, options).listed()
    finally:
        link.transport.close()


def _is_far_port(target: Target) -> bool:
    return (
        target.kind is Kind.PORT
        and target.host is not None
        and not targets.is_this_machine(target.host)
    )


def _through_bridge(target: Target, scope: Scope, options: DialOptions) -> Link:
    is_raw = credentials.handed_out(options.environ) is not None
    errand = Errand.to(target, scope, is_raw=is_raw)
    try:
        greeted = _greeted(target, errand, options)
    except SSHError as error:
        if target.name is None and workers.called(str(target), options.environ):
            error.hint = f"the worker here of that name is {HERE}/{target}"
        raise
    fields, trailing = greeted.fields, greeted.trailing
    try:
        if fields.get("raw"):
            agreed, trailing = _enter(greeted, scope, options)
            bridged.check_pid(fields, target, Ident.parse(agreed.ident))
        else:
            agreed = bridged.agreed(fields, target, scope)
    except BaseException:
        greeted.transport.close()
        raise
    told = asker.received(fields.get("told"))
    return Link(greeted.transport, agreed, trailing, None, told)


@dataclass(frozen=True, slots=True)
class _Greeted:
    """A stream on which somebody has said who answers, or why nobody does."""

    transport: Transport
    fields: dict[str, Any]
    trailing: bytes


def _greeted(target: Target, errand: Errand, options: DialOptions) -> _Greeted:
    """Reach a bridge; where ssh did not say why it failed, try as it would say it."""
    try:
        return _greeted_by(target, errand, options)
    except Unexplained:
        if not options.multiplex:
            raise
        return _greeted_by(target, errand, replace(options, multiplex=False))


def _greeted_by(target: Target, errand: Errand, options: DialOptions) -> _Greeted:
    """Start a bridge and hear its greeting; where there is none, send the relay."""
    place = target.host or str(target)
    if place not in options.bare:
        try:
            return _hear(_bridge(target, errand, options), target, options)
        except NoLiveheap as missing:
            if options.remote_command is not None or not _can_be_sent_to(target):
                raise
            found = str(missing).partition("\n")[0]
            options.patience.say(f"{found}: its python3 gets a program to relay")
            options.bare.add(place)
    program = sending.program(
        errand.as_told(target.command).fields(options.connect_timeout_s)
    )
    transport = _python(target, len(program), options)
    try:
        transport.send(program)
    except TransportError:
        transport.close()
        raise
    return _hear(transport, target, options)


def _bridge(target: Target, errand: Errand, options: DialOptions) -> CommandTransport:
    """Start `liveheap bridge` there."""
    if target.kind is Kind.VIA:
        argv = [*target.command, *_for_via(target, errand)]
        return CommandTransport(argv, explain=via.explain(argv[0]))
    command = ssh.remote_command(errand.words(), program=options.remote_command)
    return _ssh(target, command, options, sent=False)


def _python(target: Target, size: int, options: DialOptions) -> CommandTransport:
    """Start a python3 there that runs a program of that size from its stdin."""
    if target.kind is Kind.VIA:
        before = target.command[: _liveheap_in(target)]
        argv = [*before, *sending.words(size)]
        return CommandTransport(argv, explain=via.explain(argv[0], sent=True))
    return _ssh(target, sending.command(size), options, sent=True)


def _ssh(
    target: Target, command: str, options: DialOptions, *, sent: bool
) -> CommandTransport:
    assert target.host is not None
    argv = ssh.command_line(
        target.host,
        command,
        environ=options.environ,
        connect_timeout_s=options.connect_timeout_s,
        has_terminal=options.has_terminal,
        multiplex=options.multiplex,
    )
    return CommandTransport(argv, explain=ssh.explain(target.host, sent=sent))


def _can_be_sent_to(target: Target) -> bool:
    return target.kind is not Kind.VIA or _liveheap_in(target) > 0


def _liveheap_in(target: Target) -> int:
    """Return where `liveheap bridge` stands in a command behind --via; 0: nowhere."""
    for place, (program, verb) in enumerate(pairwise(target.command)):
        if os.path.basename(program) == "liveheap" and verb == "bridge":
            return place
    return 0


def _for_via(target: Target, errand: Errand) -> Sequence[str]:
    """Return what to tell a bridge behind --via, if the command takes words at its end.

    `docker exec -i web liveheap bridge` does; in `sh -c '...'` the bridge's own words
    stand, and what is said there holds.
    """
    if {"--scope", "--raw", "--list"}.intersection(target.command):
        return ()
    if "bridge" not in target.command:
        return ()
    return errand.words()


def _hear(
    transport: CommandTransport, target: Target, options: DialOptions
) -> _Greeted:
    """Read until the greeting is complete; close the stream if there is none."""
    timeout_s = options.connect_timeout_s
    if options.has_terminal:
        timeout_s = max(timeout_s, _PASSWORD_TIMEOUT_S)
    limits = Patience(timeout_s, options.ungreeted_s, options.tell)
    is_shared = options.multiplex and target.kind is not Kind.VIA
    anew = "; or share no login: --no-mux" if is_shared else ""
    reader = GreetingReader()
    try:
        while reader.fields is None:
            data = waiting.receive(
                transport, limits, pid=None, reason=lambda: _silence(target, transport)
            )
            if not data:
                raise _ended_early(transport, reader)
            reader.receive(data)
    except TimedOut as exc:
        transport.close()
        said = [f"{target} did not greet within {timeout_s:g} s"]
        raise TimedOut(
            "\n".join([*said, *last_lines(transport.talk), reader.noise]),
            hint=f"wait longer: --connect-timeout SECONDS{anew}",
        ) from exc
    except BaseException:
        transport.close()
        raise
    return _Greeted(transport, reader.fields, reader.trailing)


def _silence(target: Target, transport: CommandTransport) -> str:
    """Say who has not greeted yet, and the last that was heard instead."""
    way = "the command may start" if target.kind is Kind.VIA else "ssh may log in"
    said = "".join(f"; it said: {line}" for line in last_lines(transport.talk, limit=1))
    return f"no greeting from {target} yet: {way}, or the agent be held up{said}"


def _ended_early(transport: Transport, reader: GreetingReader) -> Exception:
    error = transport.why_ended()
    if isinstance(error, LiveheapError) and reader.noise:
        return type(error)(f"{error}\nit said: {reader.noise}", hint=error.hint)
    return error


def _enter(
    greeted: _Greeted, scope: Scope, options: DialOptions
) -> tuple[Agreed, bytes]:
    """Shake hands through a bridge that only relays, with what was given to us."""
    secret = credentials.chosen(options.environ)
    if secret is None:
        raise AuthenticationError(
            "this bridge only relays: it leaves the handshake to a key of yours",
            hint="LIVEHEAP_TOKEN_FILE=FILE, the key that you were handed",
            code="token",
        )
    numbers = [greeted.fields.get(name) for name in ("expect_pid", "expect_start")]
    expected = Expected(*(each if isinstance(each, int) else None for each in numbers))
    return reach.shake_hands(
        greeted.transport,
        secret,
        expected,
        _reach(scope, options),
        received=greeted.trailing,
    )
