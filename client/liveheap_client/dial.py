"""From a target to a link: the one place that knows every way to an agent.

Local targets shake hands here. For all others a bridge at the far end has done so, on
the machine where the token lies; its greeting says who answers and what was agreed,
and ssh, or the command behind --via, vouches for it. Whoever was handed a key asks for
a raw bridge and shakes hands from here, through it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import MIN_VERSION, VERSION, Agreed, Ident, Scope
from liveheap_client import asker, credentials, reach, workers
from liveheap_client import patience as waiting
from liveheap_client import target as targets
from liveheap_client.errors import ConnectError, SSHError, TimedOut, UsageError
from liveheap_client.patience import Patience
from liveheap_client.reach import Expected, Reach
from liveheap_client.target import HERE, Kind, Target
from liveheap_client.transport import ssh
from liveheap_client.transport.base import Transport
from liveheap_client.transport.command import CommandTransport
from liveheap_client.transport.greeting import GreetingReader
from liveheap_client.workers import Worker

CONNECT_TIMEOUT_S = 15.0
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
    """Return what a bridge lists: the workers of a machine reached through ssh."""
    transport = _open_bridge(target, ["--list"], options)
    try:
        fields, _ = _greeting(transport, target, options)
    finally:
        transport.close()
    listed = fields.get("workers")
    if not isinstance(listed, list):
        raise ConnectError(
            f"{target} did not list its workers",
            hint="let CMD end in: liveheap bridge --list",
        )
    return [worker for worker in listed if isinstance(worker, dict)]


def _is_far_port(target: Target) -> bool:
    return (
        target.kind is Kind.PORT
        and target.host is not None
        and not targets.is_this_machine(target.host)
    )


def _through_bridge(target: Target, scope: Scope, options: DialOptions) -> Link:
    words = ["--scope", scope.label, "--protocol", str(VERSION)]
    if credentials.handed_out(options.environ) is not None:
        words = ["--raw"]
    if target.pid is not None:
        words += ["--pid", str(target.pid)]
    if target.name is not None:
        words += ["--name", target.name]
    if target.port is not None:
        words += ["--port", str(target.port)]
    transport = _open_bridge(target, words, options)
    try:
        fields, trailing = _greeting(transport, target, options)
        if fields.get("raw"):
            agreed, trailing = _enter(transport, fields, trailing, scope, options)
            _check_pid(fields, target, Ident.parse(agreed.ident))
        else:
            agreed = _agreed(fields, target, scope)
    except SSHError as error:
        transport.close()
        if target.name is None and workers.called(str(target), options.environ):
            error.hint = f"the worker here of that name is {HERE}/{target}"
        raise
    except BaseException:
        transport.close()
        raise
    return Link(transport, agreed, trailing, None, asker.received(fields.get("told")))


def _open_bridge(
    target: Target, words: Sequence[str], options: DialOptions
) -> CommandTransport:
    if target.kind is Kind.VIA:
        return CommandTransport([*target.command, *_for_via(target, words)])
    assert target.host is not None
    argv = ssh.command_line(
        target.host,
        ssh.remote_command(words, program=options.remote_command),
        environ=options.environ,
        connect_timeout_s=options.connect_timeout_s,
        has_terminal=options.has_terminal,
        multiplex=options.multiplex,
    )
    return CommandTransport(argv, explain=ssh.explain(target.host))


def _for_via(target: Target, words: Sequence[str]) -> Sequence[str]:
    """Return what to tell a bridge behind --via, if the command takes words at its end.

    `docker exec -i web liveheap bridge` does; in `sh -c '...'` the bridge's own words
    stand, and what is said there holds.
    """
    if "bridge" not in target.command or {"--scope", "--raw"} & set(target.command):
        return ()
    return [word for word in words if word not in target.command]


def _greeting(
    transport: Transport, target: Target, options: DialOptions
) -> tuple[dict[str, Any], bytes]:
    """Read until the greeting is complete; return its fields and what follows."""
    timeout_s = options.connect_timeout_s
    if options.has_terminal:
        timeout_s = max(timeout_s, _PASSWORD_TIMEOUT_S)
    limits = Patience(timeout_s=timeout_s, quiet_s=timeout_s)
    reader = GreetingReader()
    while reader.fields is None:
        try:
            data = waiting.receive(transport, limits, pid=None)
        except TimedOut as exc:
            raise TimedOut(
                f"{target} did not greet within {timeout_s:g} s\n{reader.noise}",
                hint="wait longer: --connect-timeout SECONDS",
            ) from exc
        if not data:
            raise _ended_early(transport, reader)
        reader.receive(data)
    return reader.fields, reader.trailing


def _ended_early(transport: Transport, reader: GreetingReader) -> Exception:
    error = transport.why_ended()
    if isinstance(error, LiveheapError) and reader.noise:
        return type(error)(f"{error}\nit said: {reader.noise}", hint=error.hint)
    return error


def _enter(
    transport: Transport,
    fields: Mapping[str, Any],
    received: bytes,
    scope: Scope,
    options: DialOptions,
) -> tuple[Agreed, bytes]:
    """Shake hands through a bridge that only relays, with what was given to us."""
    secret = credentials.chosen(options.environ)
    if secret is None:
        raise AuthenticationError(
            "this bridge only relays: it leaves the handshake to a key of yours",
            hint="LIVEHEAP_TOKEN_FILE=FILE, the key that you were handed",
            code="token",
        )
    numbers = [fields.get(name) for name in ("expect_pid", "expect_start")]
    expected = Expected(*(each if isinstance(each, int) else None for each in numbers))
    return reach.shake_hands(
        transport, secret, expected, _reach(scope, options), received=received
    )


def _agreed(fields: Mapping[str, Any], target: Target, scope: Scope) -> Agreed:
    """Return what the bridge agreed on with the agent, or raise its error."""
    if "error" in fields:
        raise _bridge_error(fields, target)
    try:
        agreed = Agreed(
            scope=Scope(fields["scope"]),
            version=int(fields["version"]),
            ident=str(fields["ident"]),
            session_id=bytes.fromhex(fields["session"]),
        )
        ident = Ident.parse(agreed.ident)
    except (KeyError, TypeError, ValueError, LiveheapError) as exc:
        raise ConnectError(
            f"the greeting from {target} lacks something: {exc}"
        ) from exc
    if not MIN_VERSION <= agreed.version <= VERSION:
        raise ConnectError(
            f"{target} speaks protocol {agreed.version}, this client "
            f"{MIN_VERSION} to {VERSION}",
            hint="update the older one of the two: pip install -U liveheap",
        )
    if agreed.scope < scope:
        raise AuthenticationError(
            f"{target} grants {agreed.scope.label} only, this needs {scope.label}",
            hint=f"let CMD end in: liveheap bridge --scope {scope.label}",
        )
    _check_pid(fields, target, ident)
    return agreed


def _check_pid(fields: Mapping[str, Any], target: Target, ident: Ident) -> None:
    if target.pid is not None and fields.get("pid", ident.pid) != target.pid:
        raise AuthenticationError(
            f"asked for process {target.pid}, {ident.pid} answered",
            hint="liveheap ps HOST lists the workers there",
        )


def _bridge_error(fields: Mapping[str, Any], target: Target) -> LiveheapError:
    kinds: dict[str, type[LiveheapError]] = {
        "authentication": AuthenticationError,
        "choose": UsageError,
        "not-answering": TimedOut,
        "connect": ConnectError,
    }
    kind = kinds.get(str(fields["error"]), ConnectError)
    message = f"{target}: {fields.get('message') or fields['error']}"
    hint = _hint_from_here(fields, target)
    if kind is AuthenticationError and fields.get("code"):
        return AuthenticationError(message, hint=hint, code=str(fields["code"]))
    return kind(message, hint=hint)


def _hint_from_here(fields: Mapping[str, Any], target: Target) -> str | None:
    """Return the bridge's hint, said for somebody who is not on that machine."""
    hint = fields.get("hint")
    if target.kind is Kind.VIA and fields["error"] == "choose":
        return "name it to the bridge behind --via: liveheap bridge --pid PID"
    if target.host is not None and fields["error"] == "choose":
        return f"name one of them as the target: {target.host}/PID"
    if hint is None:
        return None
    if target.host is not None and target.kind is not Kind.VIA:
        return (
            str(hint)
            .replace("liveheap ps", f"liveheap ps {target.host}", 1)
            .replace("liveheap inject", f"ssh -t {target.host} liveheap inject", 1)
        )
    return str(hint)
