"""What a client makes of a bridge's greeting."""

import json
import os
import pty
import shlex
import sys
import termios
from pathlib import Path
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
    HostRefused,
    SSHError,
    TimedOut,
    Unexplained,
    UsageError,
)
from liveheap_client.patience import Patience
from liveheap_client.session import Session
from liveheap_client.transport import ssh

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


def test_who_waits_for_a_greeting_is_told_so_and_what_was_heard_instead(
    tmp_path: Path,
) -> None:
    heard = tmp_path / "heard"
    os.mkfifo(heard)
    program = f"echo pulling an image >&2; read word < {heard}; exit 7"
    target = targets.via(f"sh -c '{program}'")
    told: list[str] = []

    def say(message: str) -> None:
        told.append(message)
        if "it said: pulling an image" in message:
            heard.write_text("yes\n")

    options = DialOptions(
        {}, 60, Patience(say=say), has_terminal=False, ungreeted_s=0.05
    )
    with pytest.raises(ConnectionLost, match="exit code 7"):
        dial(target, scope=Scope.READ, options=options)

    assert all(each.startswith("no greeting from ") for each in told)
    assert "; waiting (" in told[-1]


def test_nothing_is_told_into_a_password_that_is_being_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    options = DialOptions(
        {}, 60, Patience(say=told.append), has_terminal=True, ungreeted_s=0.01
    )
    master, slave = pty.openpty()
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    try:
        with os.fdopen(slave) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            with pytest.raises(ConnectionLost):
                dial(targets.via("sleep 0.2"), scope=Scope.READ, options=options)
    finally:
        os.close(master)

    assert told == []


CLOSED = "kex_exchange_identification: Connection closed by remote host\n"
UNKNOWN = "Connection closed by UNKNOWN port 65535\n"
MASTER = "mux_client_request_session: read from master failed: Broken pipe\n"
NO_ROUTE = "ssh: connect to host jump port 22: No route to host\n"
CHANGED = "Host key verification failed.\n"


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (UNKNOWN, Unexplained),
        (CLOSED + UNKNOWN, Unexplained),
        (MASTER + CLOSED + UNKNOWN, Unexplained),
        (NO_ROUTE + CLOSED + UNKNOWN, SSHError),
        (CHANGED + CLOSED + UNKNOWN, HostRefused),
        (CLOSED + "Connection closed by 192.0.2.1 port 22\n", SSHError),
        ("Connection to UNKNOWN port 65535 timed out\n", SSHError),
        ("", SSHError),
    ],
)
def test_an_end_of_ssh_without_a_reason_is_told_from_one_with(
    talk: str, kind: type[LiveheapError]
) -> None:
    assert type(ssh.explain("web")(255, talk)) is kind


@pytest.mark.parametrize("ours_s", [2.0, 5.0, 15.0, 120.0])
def test_ssh_gives_up_and_says_why_no_later_than_we_do(ours_s: float) -> None:
    words = ssh.command_line(
        "web",
        "true",
        environ={"LIVEHEAP_SSH": "true"},
        connect_timeout_s=ours_s,
        has_terminal=False,
        multiplex=False,
    )
    (limit,) = [word for word in words if word.startswith("ConnectTimeout=")]

    assert ours_s / 2 <= int(limit.partition("=")[2]) <= max(2, ours_s - 1)


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
