"""What a bridge's greeting means, to somebody who is not on that machine.

It says who answers and what was agreed, or why nobody does; the relay that is sent
where no bridge is says the same. Both come from another machine: what is missing or
strange in them is an error of ours, and never believed.
"""

import re
from collections.abc import Mapping
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import MIN_VERSION, VERSION, Agreed, Ident, Scope
from liveheap_client.errors import ConnectError, TimedOut, UsageError
from liveheap_client.target import Kind, Target

_DOCTOR = re.compile(r"liveheap doctor(?: (\d+))?")


def agreed(fields: Mapping[str, Any], target: Target, scope: Scope) -> Agreed:
    """Return what the bridge agreed on with the agent, or raise its error."""
    if "error" in fields:
        raise error(fields, target)
    try:
        found = Agreed(
            scope=Scope(fields["scope"]),
            version=int(fields["version"]),
            ident=str(fields["ident"]),
            session_id=bytes.fromhex(fields["session"]),
        )
        ident = Ident.parse(found.ident)
    except (KeyError, TypeError, ValueError, LiveheapError) as exc:
        raise ConnectError(
            f"the greeting from {target} lacks something: {exc}"
        ) from exc
    if not MIN_VERSION <= found.version <= VERSION:
        raise ConnectError(
            f"{target} speaks protocol {found.version}, this client "
            f"{MIN_VERSION} to {VERSION}",
            hint="update the older one of the two: pip install -U liveheap",
        )
    if found.scope < scope:
        raise AuthenticationError(
            f"{target} grants {found.scope.label} only, this needs {scope.label}",
            hint=f"let CMD end in: liveheap bridge --scope {scope.label}",
        )
    check_pid(fields, target, ident)
    return found


def check_pid(fields: Mapping[str, Any], target: Target, ident: Ident) -> None:
    """Raise AuthenticationError if another process answers than the one asked for."""
    if target.port is not None:
        return  # the pid is that of a worker behind it: behind.py
    if target.pid is not None and fields.get("pid", ident.pid) != target.pid:
        raise AuthenticationError(
            f"asked for process {target.pid}, {ident.pid} answered",
            hint="liveheap ps HOST lists the workers there",
        )


def no_list(fields: Mapping[str, Any], target: Target) -> LiveheapError:
    """Return the error of a bridge that was to list workers and did not."""
    if "error" in fields:
        return error(fields, target)
    return ConnectError(
        f"{target} did not list its workers",
        hint="let CMD end in: liveheap bridge --list",
    )


def error(fields: Mapping[str, Any], target: Target) -> LiveheapError:
    """Return the error that a bridge, or a gateway, has told of."""
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


def _at(host: str | None, pid: str | None) -> str:
    """Return how a process of another machine is looked at from here."""
    return f"liveheap doctor {host}" + (f"/{pid}" if pid else "")


def _hint_from_here(fields: Mapping[str, Any], target: Target) -> str | None:
    """Return the bridge's hint, said for somebody who is not on that machine."""
    hint = fields.get("hint")
    if target.kind is Kind.VIA and fields["error"] == "choose":
        return "name it to the bridge behind --via: liveheap bridge --pid PID"
    if target.host is not None and fields["error"] == "choose":
        place = str(target).partition("/")[0]
        return f"name one of them as the target: {place}/PID"
    if hint is None:
        return None
    if target.host is not None and target.kind is not Kind.VIA:
        looked = _DOCTOR.sub(lambda of: _at(target.host, of[1]), str(hint), count=1)
        return looked.replace("liveheap ps", f"liveheap ps {target.host}", 1).replace(
            "liveheap inject", f"ssh -t {target.host} liveheap inject", 1
        )
    return str(hint)
