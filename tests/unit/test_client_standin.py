"""What is sent to a machine without liveheap does as liveheap itself does."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liveheap import registry
from liveheap.errors import LiveheapError
from liveheap.protocol.auth import (
    MIN_VERSION,
    VERSION,
    AgentHandshake,
    Ident,
    Scope,
    scope_key,
)
from liveheap_client.errand import Errand
from liveheap_client.transport import sending, standin

TOKEN = bytes(range(32))
IDENT = Ident("web", 4711, 99, "1")
ERRAND = Errand(Scope.GRAPH).fields(10)
Meddle = Callable[[bytes, int], bytes]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    agent, client = socket.socketpair()
    for end in (agent, client):
        end.settimeout(60)
    yield agent, client
    for end in (agent, client):
        end.close()


def answering(
    agent: socket.socket, handshake: AgentHandshake, meddle: Meddle
) -> threading.Thread:
    """Let an agent shake hands in a thread; what it sends passes through `meddle`."""

    def run() -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while not handshake.done:
                with contextlib.suppress(LiveheapError):
                    handshake.receive(agent.recv(handshake.wanted or 1))
                data = handshake.data_to_send()
                agent.sendall(meddle(data, sent))
                sent += bool(data)
                if not handshake.wanted:
                    break
            agent.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def shake(
    ends: tuple[socket.socket, socket.socket],
    *,
    meddle: Meddle = lambda data, _number: data,
    ceiling: Scope = Scope.GRAPH,
    expected: tuple[str, str] | None = ("4711", "99"),
) -> dict[str, Any]:
    agent, client = ends
    handshake = AgentHandshake(lambda: TOKEN, IDENT, ceiling)
    thread = answering(agent, handshake, meddle)
    errand = json.loads(json.dumps(ERRAND))
    try:
        return standin.shake(client, TOKEN, errand, expected)
    finally:
        client.close()
        thread.join(10)


@pytest.mark.parametrize("scope", list(Scope))
def test_the_keys_are_those_of_the_protocol(scope: Scope) -> None:
    assert standin.scope_key(TOKEN, scope) == scope_key(TOKEN, scope)


def test_an_agent_shakes_hands_with_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    greeting = shake(ends)

    assert greeting["ident"] == str(IDENT)
    assert greeting["scope"] == Scope.GRAPH
    assert MIN_VERSION <= greeting["version"] <= VERSION
    assert len(bytes.fromhex(greeting["session"])) == 8


@pytest.mark.parametrize("place", [8, 12, 44, 50, -32, -1])
def test_a_changed_challenge_is_noticed_before_anything_is_proved(
    place: int, ends: tuple[socket.socket, socket.socket]
) -> None:
    def meddle(data: bytes, number: int) -> bytes:
        if number:
            return data
        changed = bytearray(data)
        changed[place] ^= 2 if place == 8 else 1
        return bytes(changed)

    with pytest.raises(standin.No):
        shake(ends, meddle=meddle)


def test_a_last_word_of_somebody_else_is_noticed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(standin.No, match="wrong proof"):
        shake(ends, meddle=lambda data, number: data[::-1] if number and data else data)


def test_another_process_than_the_one_that_was_looked_for_is_noticed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(standin.No, match="another process answers") as caught:
        shake(ends, expected=("4711", "98"))

    assert caught.value.fields["code"] == "wrong-worker"


def test_a_refusal_is_said_in_the_clients_words(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(standin.No, match="does not offer scope graph") as caught:
        shake(ends, ceiling=Scope.READ)

    assert caught.value.fields["code"] == "scope"
    assert "LIVEHEAP_ALLOW=graph" in str(caught.value.fields["hint"])


def test_who_is_no_agent_is_told_apart(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    agent, client = ends
    agent.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n" * 2)

    with pytest.raises(standin.No, match="not a liveheap agent"):
        standin.shake(client, TOKEN, json.loads(json.dumps(ERRAND)), None)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("LIVEHEAP_DIR", str(directory))
    monkeypatch.chdir(directory)
    return directory


def both() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return whom either of the two finds."""
    ours = [(entry.pid, entry.start_time) for entry in registry.entries(os.environ)]
    found = [(one["pid"], one["start_time"]) for one in standin.workers()]
    return found, ours


def test_it_finds_whom_the_registry_finds(run_dir: Path) -> None:
    pid, began = os.getpid(), registry.start_time(os.getpid())
    assert began is not None
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    sockets[0].bind(f"{pid}-{began}.sock")
    sockets[1].bind("1-1.sock")
    Path(f"{pid}-{began}.json").write_text('{"name": "shop", "settled_rss": 5}')
    Path(f"{os.getppid()}-{registry.start_time(os.getppid())}.sock").touch()
    Path(f"{pid}-{began + 1}.sock").symlink_to(f"{pid}-{began}.sock")
    Path("token").touch()

    (worker,) = standin.workers()
    found, ours = both()

    assert found == ours == [(pid, began)]
    assert worker["name"] == "shop"
    assert worker["grown"] == worker["rss"] - 5
    for each in sockets:
        each.close()


@pytest.mark.parametrize("facts", ["[1]", "no json", "[" * 100_000, "\udcff"])
def test_facts_that_are_none_do_not_hide_a_worker(facts: str, run_dir: Path) -> None:
    name = f"{os.getpid()}-{registry.start_time(os.getpid())}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{name}.sock")
        Path(f"{name}.json").write_bytes(facts.encode("utf-8", "surrogateescape"))

        found, ours = both()

    assert found == ours
    assert len(found) == 1


def test_a_directory_that_others_may_enter_is_passed_over(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{os.getpid()}-{registry.start_time(os.getpid())}.sock")
        run_dir.chmod(0o755)

        assert both() == ([], [])


def test_a_program_holds_no_import_of_ours_and_no_secret() -> None:
    sent = sending.program(ERRAND)

    assert b"import liveheap" not in sent
    assert b"from liveheap" not in sent
    assert sent.startswith(b'"""The bridge')
    compile(sent, "sent", "exec")


def test_a_command_has_nothing_that_a_shell_might_read_otherwise() -> None:
    command = sending.command(12345)
    _, quoted, after = command.split("'")

    assert after == ""
    assert not set(quoted) & set("\n!$\\`%")
    assert len(command) < 200
