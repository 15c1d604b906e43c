"""A gateway before real workers: who is listed, who is led where, and who is not."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from command_line import liveheap, starting
from contract.minimal_client import Gone, MinimalClient, shake_hands
from spawn import Stage, Worker, eventually, free_port

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope
from liveheap_client.errors import UsageError
from liveheap_client.gateway import MAX_GUESTS, address

USAGE, CANNOT_CONNECT, REFUSED = 2, 3, 4
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


class Gateway:
    """A running `liveheap gateway` and the port it has."""

    def __init__(self, env: dict[str, str], *words: str) -> None:
        self.process = starting(
            "gateway", "--listen", "127.0.0.1:0", *words, env={**env, "HOME": "/"}
        )
        assert self.process.stderr
        said = self.process.stderr.readline()
        assert "listening on 127.0.0.1:" in said, said
        self.port = int(said.partition(";")[0].rpartition(":")[2])

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("gevent_leak", env={"LIVEHEAP_NAME": "mill"})
    worker.wait_for_socket()
    return worker


@pytest.fixture
def gateways() -> Iterator[Callable[..., Gateway]]:
    with ExitStack() as stack:

        def start(env: dict[str, str], *words: str) -> Gateway:
            gateway = Gateway(env, *words)
            stack.callback(gateway.close)
            return gateway

        yield start


@pytest.fixture
def gateway(worker: Worker, gateways: Callable[..., Gateway]) -> Gateway:
    return gateways(worker.environ)


def token_of(worker: Worker) -> bytes:
    return (worker.run_dir / "token").read_bytes()


def test_all_that_a_worker_answers_is_answered_through_a_gateway(
    worker: Worker, gateway: Gateway, tmp_path: Path
) -> None:
    place, env, file = gateway.place, worker.environ, tmp_path / "mill.liveheap"

    [row] = json.loads(liveheap("ps", place, "--json", env=env).stdout)
    assert row["pid"] == worker.pid
    for target in (place, f"{place}/{worker.pid}", f"{place}/mill"):
        answer = json.loads(liveheap("status", target, "--json", env=env).stdout)
        assert answer["pid"] == worker.pid
    liveheap("snapshot", place, "-o", file, env=env)
    assert "x20" in liveheap("backrefs", "Letter", file, env=env).stdout
    report = liveheap(
        "diff", place, "--interval", 0.2, "--rounds", 2, "--json", env=env
    ).stdout
    assert json.loads(report)["types"]


def test_who_is_not_behind_it_is_not_found(worker: Worker, gateway: Gateway) -> None:
    for name in (os.getpid(), "nobody"):
        done = liveheap(
            "status",
            f"{gateway.place}/{name}",
            env=worker.environ,
            expect=CANNOT_CONNECT,
        )
        assert str(name) in done.stderr
        assert "hint:" in done.stderr


def test_of_several_workers_one_has_to_be_named(
    worker: Worker, gateway: Gateway, spawn_worker: Callable[..., Worker]
) -> None:
    other = spawn_worker("plain", env={"LIVEHEAP_DIR": str(worker.run_dir)})
    eventually(lambda: worker.sockets(other.pid), what="the other one's socket")

    done = liveheap("status", gateway.place, env=worker.environ, expect=USAGE)

    assert f"{worker.pid} mill" in done.stderr
    assert str(other.pid) in done.stderr
    assert f"{gateway.place}/PID" in done.stderr


def test_an_agent_s_own_port_is_no_gateway(spawn_worker: Callable[..., Worker]) -> None:
    place = f"127.0.0.1:{free_port()}"
    worker = spawn_worker("plain", env={"LIVEHEAP_TCP": place})
    worker.wait_for_socket()
    env = worker.environ

    liveheap("status", place, env=env)
    liveheap("status", f"{place}/{worker.pid}", env=env)
    done = liveheap("ps", place, env=env, expect=CANNOT_CONNECT)
    assert "no gateway" in done.stderr
    liveheap("status", f"{place}/{os.getpid()}", env=env, expect=REFUSED)
    liveheap("status", f"{place}/mill", env=env, expect=CANNOT_CONNECT)


@pytest.mark.parametrize(
    "place", ["0.0.0.0:7070", ":::7070", "192.0.2.1:7070", "example.org:80", "x", ""]
)
def test_no_address_but_loopback_is_listened_on(place: str) -> None:
    with pytest.raises(UsageError) as refused:
        address(place)
    assert "127.0.0.1:PORT" in (refused.value.hint or "")


def test_the_refusal_of_an_address_names_ssh_as_the_way(tmp_path: Path) -> None:
    env = {**os.environ, "LIVEHEAP_DIR": str(tmp_path)}

    done = liveheap("gateway", "--listen", "0.0.0.0:1", env=env, expect=USAGE)

    assert "only a loopback address" in done.stderr
    assert "ssh" in done.stderr


def test_a_port_that_is_taken_is_said(worker: Worker, gateway: Gateway) -> None:
    done = liveheap(
        "gateway",
        "--listen",
        gateway.place,
        env=worker.environ,
        expect=CANNOT_CONNECT,
    )

    assert "in use" in done.stderr


STRANGE = {
    "GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST": b"POST /json HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(1 << 20),
    "one byte": b"\x92",
}


def test_what_does_not_begin_with_the_magic_gets_no_answer(gateway: Gateway) -> None:
    answers = {}
    for name, opening in STRANGE.items():
        with gateway.connect() as client:
            try:
                client.sendall(opening)
                answers[name] = client.recv(1)
            except ConnectionError:
                answers[name] = b""
    assert answers == dict.fromkeys(STRANGE, b"")


def test_another_token_opens_nothing(
    worker: Worker, gateway: Gateway, tmp_path: Path
) -> None:
    wrong = tmp_path / "token"
    wrong.write_bytes(os.urandom(32))
    wrong.chmod(0o600)
    env = {**worker.environ, "LIVEHEAP_TOKEN_FILE": str(wrong)}

    done = liveheap("status", gateway.place, env=env, expect=REFUSED)

    assert "not genuine" in done.stderr


def test_a_key_opens_its_scope_behind_a_gateway_and_no_higher(
    worker: Worker, gateway: Gateway, tmp_path: Path
) -> None:
    key, env = tmp_path / "key", worker.environ
    liveheap("token", "--scope", "read", "--ttl", "1h", "-o", key, env=env)
    env = {**env, "LIVEHEAP_TOKEN_FILE": str(key)}

    liveheap("histogram", gateway.place, env=env)
    done = liveheap(
        "snapshot", gateway.place, "-o", tmp_path / "x", env=env, expect=REFUSED
    )

    assert "scope" in done.stderr
    assert list(tmp_path.glob("x*")) == []


def test_the_worker_s_ceiling_holds_behind_a_gateway_that_grants_more(
    worker: Worker, gateways: Callable[..., Gateway]
) -> None:
    gateway = gateways(worker.environ, "--allow", "exec")
    done = liveheap(
        "console", gateway.place, "-c", "1", env=worker.environ, expect=REFUSED
    )
    assert "exec" in done.stderr


def test_a_gateway_grants_graph_unless_told_otherwise(
    worker: Worker, gateway: Gateway
) -> None:
    with gateway.connect() as client, pytest.raises(AuthenticationError) as refused:
        shake_hands(client, token_of(worker), Scope.EXEC)
    assert refused.value.code == "scope"


@pytest.mark.parametrize("question", ["workers", "worker"])
def test_a_guest_gets_nothing_once_the_token_was_replaced(
    question: str, worker: Worker, gateway: Gateway
) -> None:
    with gateway.connect() as client:
        guest = MinimalClient(client, shake_hands(client, token_of(worker), Scope.READ))
        guest.request("workers")
        liveheap("token", "--rotate", env=worker.environ)
        with pytest.raises(CommandError, match="the token was replaced"):
            guest.request(question)
        with pytest.raises(Gone):
            guest.next_message()


def test_guests_are_bounded_and_leave_nothing(worker: Worker, gateway: Gateway) -> None:
    files, threads = gateway.files(), gateway.threads()
    with ExitStack() as guests:
        for _ in range(MAX_GUESTS):
            client = guests.enter_context(gateway.connect())
            shake_hands(client, token_of(worker), Scope.READ)
        with gateway.connect() as late, pytest.raises(AuthenticationError) as refused:
            shake_hands(late, token_of(worker), Scope.READ)
        assert refused.value.code == "busy"
        assert gateway.threads() <= threads + MAX_GUESTS
    eventually(lambda: gateway.threads() == threads, what="the guests' threads end")
    eventually(lambda: gateway.files() == files, what="the guests' sockets are closed")
    liveheap("status", gateway.place, env=worker.environ)


def test_a_guest_that_asks_nothing_is_shown_out(worker: Worker) -> None:
    program = (
        "from liveheap_client import gateway, bare\n"
        "gateway.ASK_WITHIN_S = 1\n"
        "bare.main('gateway', ['--listen', '127.0.0.1:0'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=worker.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        port = int(process.stderr.readline().partition(";")[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            shake_hands(client, token_of(worker), Scope.READ)
            assert client.recv(1) == b""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_a_signal_with_clients_and_leaves_nothing(
    number: int, worker: Worker, gateway: Gateway
) -> None:
    liveheap("status", worker.pid, env=worker.environ)  # there is an audit log now
    before = sorted(worker.run_dir.iterdir())
    shell = subprocess.Popen(
        [sys.executable, "-m", "liveheap_client", "attach", gateway.place],
        env=worker.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert shell.stdin
    assert shell.stdout
    try:
        shell.stdin.write(b"status\n")
        shell.stdin.flush()
        while b"uptime" not in (line := shell.stdout.readline()):
            assert line
        assert gateway.end(number) == 0
        with pytest.raises(ConnectionError):
            gateway.connect()
    finally:
        shell.kill()
        shell.communicate()
    assert sorted(worker.run_dir.iterdir()) == before
    liveheap("status", worker.pid, env=worker.environ)


def test_a_worker_that_ends_ends_its_guest_s_stream(
    worker: Worker, gateway: Gateway, tmp_path: Path
) -> None:
    files = gateway.files()
    with gateway.connect() as client:
        shake_hands(client, token_of(worker), Scope.GRAPH)
        eventually(lambda: gateway.files() > files, what="the guest is in")
        worker.kill()
        done = liveheap(
            "status", gateway.place, env=worker.environ, expect=CANNOT_CONNECT
        )
    assert "no worker" in done.stderr
    eventually(lambda: gateway.files() == files, what="nothing of it stays")


@pytest.fixture
def stranger() -> Iterator[int]:
    """The number of a user that nobody is; its run directory goes afterwards."""
    uid = 2_000_000 + os.getpid()
    yield uid
    shutil.rmtree(f"/tmp/liveheap-{uid}", ignore_errors=True)


@as_root
def test_workers_of_another_user_are_not_behind_it(
    stage: Stage, stranger: int, gateways: Callable[..., Gateway]
) -> None:
    program = (
        "import os, sys, liveheap\n"
        "liveheap.start(name='strange')\n"
        f"os.setgid({stranger}); os.setuid({stranger})\n"
        "os.write(int(os.environ['READY_FD']), b'ready\\n'); sys.stdin.read()"
    )
    strange = stage.spawn_command(
        [sys.executable, "-c", program], env={"LIVEHEAP_DIR": ""}
    )
    mine = stage.spawn("plain", env={"LIVEHEAP_DIR": ""})
    env = mine.environ
    gateway = gateways(env)

    def listed(*where: str) -> set[int]:
        rows = json.loads(liveheap("ps", *where, "--json", env=env).stdout)
        return {row["pid"] for row in rows} & {strange.pid, mine.pid}

    both = {strange.pid, mine.pid}
    eventually(lambda: listed() == both, what="root sees them by itself")
    assert listed(gateway.place) == {mine.pid}
    target = f"{gateway.place}/{strange.pid}"
    done = liveheap("status", target, env=env, expect=CANNOT_CONNECT)
    assert "of the gateway's user" in done.stderr
