"""What a client makes of a bridge's greeting."""

import json
import shlex
import sys
from typing import Any

import pytest

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client import dial as module
from liveheap_client import session as session_module
from liveheap_client import target as targets
from liveheap_client.dial import DialOptions, dial, remote_workers
from liveheap_client.errors import (
    ConnectError,
    ConnectionLost,
    TimedOut,
    UsageError,
)
from liveheap_client.patience import Patience
from liveheap_client.session import Session

GREETING = {
    "bridge": 1,
    "ident": "web:4711:1:x",
    "scope": 2,
    "version": 1,
    "session": "01" * 8,
}
OPTIONS = DialOptions(environ={}, connect_timeout_s=10, has_terminal=False)


def bridge(greeting: Any, *, code: int = 0) -> targets.Target:
    """Return a target whose command greets so, and ends."""
    line = json.dumps(greeting).encode() + b"\n"
    program = (
        "import sys; sys.stdout.buffer.write("
        f"b'\\x93LHEAP\\r\\n' + {line!r}); sys.stderr.write('oops'); sys.exit({code})"
    )
    return targets.via(shlex.join([sys.executable, "-c", program]))


def test_a_good_greeting_is_a_link() -> None:
    link = dial(bridge(GREETING), scope=Scope.READ, options=OPTIONS)
    link.transport.close()

    assert link.agreed.ident == "web:4711:1:x"
    assert link.agreed.scope is Scope.GRAPH
    assert link.local_pid is None


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"version": 2}, ConnectError, "speaks protocol 2"),
        ({"version": 0}, ConnectError, "speaks protocol 0"),
        ({"scope": 1}, AuthenticationError, "grants read only"),
        ({"scope": 9}, ConnectError, "lacks"),
        ({"ident": "nonsense"}, ConnectError, "lacks"),
        ({"session": "xyz"}, ConnectError, "lacks"),
        ({"version": None}, ConnectError, "lacks"),
        ({"error": "authentication", "message": "no"}, AuthenticationError, "no"),
        ({"error": "choose", "message": "2 workers"}, UsageError, "2 workers"),
        ({"error": "not-answering", "message": "GIL"}, TimedOut, "GIL"),
        ({"error": "connect", "message": "nobody"}, ConnectError, "nobody"),
        ({"error": "of the future"}, ConnectError, "of the future"),
    ],
)
def test_what_a_greeting_may_say_instead(
    changes: dict[str, Any], kind: type[LiveheapError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        dial(bridge({**GREETING, **changes}), scope=Scope.GRAPH, options=OPTIONS)


def test_another_process_than_the_one_asked_for_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = targets.parse("web/4712")
    command = bridge(GREETING).command
    monkeypatch.setattr(module.ssh, "command_line", lambda *_a, **_k: list(command))

    with pytest.raises(AuthenticationError, match="4711 answered"):
        dial(asked, scope=Scope.GRAPH, options=OPTIONS)


def test_a_command_that_ends_before_it_greets_is_quoted() -> None:
    target = targets.via("sh -c 'echo no such container; echo really >&2; exit 7'")

    with pytest.raises(ConnectionLost) as caught:
        dial(target, scope=Scope.READ, options=OPTIONS)

    assert "exit code 7" in str(caught.value)
    assert "really" in str(caught.value)
    assert "no such container" in str(caught.value)


def test_a_list_of_workers_comes_in_the_greeting() -> None:
    workers = remote_workers(bridge({"bridge": 1, "workers": [{"pid": 1}]}), OPTIONS)

    assert workers == [{"pid": 1}]


def test_a_lower_protocol_is_agreed_on_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "VERSION", 2)
    told: list[str] = []
    options = DialOptions(
        environ={},
        connect_timeout_s=10,
        has_terminal=False,
        patience=Patience(say=told.append),
    )

    Session.open(bridge(GREETING), scope=Scope.READ, options=options).close()

    assert "speaks protocol 1" in told[0]
