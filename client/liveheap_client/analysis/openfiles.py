"""Open files that grow: of which kind, and where their connections lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {
    "tcp": "TCP connections",
    "tcp-listening": "listening sockets",
    "udp": "UDP sockets",
    "unix": "Unix sockets",
    "socket": "other sockets",
    "file": "files",
    "pipe": "ends of pipes",
}
MOST = 0.5

Ports = Sequence[Sequence[int]]


def growing_kind(first: Mapping[str, Any], last: Mapping[str, Any]) -> str | None:
    """Return `TCP connections to port 6379`, what gained most of the open files.

    None if nobody knows. Only ports: addresses are not in a snapshot.
    """
    before, after = first.get("kinds"), last.get("kinds")
    if not before or not after:
        return None
    kind = max(after, key=lambda name: after[name] - before.get(name, 0))
    gained = after[kind] - before.get(kind, 0)
    if gained <= 0:
        return None
    text = _WORDS.get(kind, kind)
    return f"{text}{_leading(first, last, gained)}" if kind == "tcp" else text


def _leading(first: Mapping[str, Any], last: Mapping[str, Any], gained: int) -> str:
    """Return the port that most of the connections have in common."""
    for name, words in (("remote_ports", "to port"), ("local_ports", "on port")):
        before, after = _by_port(first.get(name)), _by_port(last.get(name))
        port = max(after, key=lambda one: after[one] - before.get(one, 0), default=None)
        if port is not None and after[port] - before.get(port, 0) >= MOST * gained:
            return f" {words} {port}"
    return ""


def _by_port(ports: Ports | None) -> dict[int, int]:
    return {pair[0]: pair[1] for pair in ports or ()}
