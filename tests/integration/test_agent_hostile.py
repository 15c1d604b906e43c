"""Hostile and clumsy connections: they cost the worker little, and get nowhere.

REMOTE.md, sections 4.5 and 10. In every test a legitimate client is served afterwards
(or meanwhile), and threads and open files return to what they were.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
from agent_host import Host, start_host
from contract.minimal_client import DEADLINE_S, Gone, connect
from spawn import Stage, eventually, free_port

from liveheap.agent.lobby import HANDSHAKE_DEADLINE_S, MAX_UNAUTHENTICATED
from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import MAGIC, ClientHandshake, Scope

M1 = MAGIC + bytes([1, 2, 0, 0]) + bytes(4) + b"\xc1" * 32
GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303"),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(1 << 20),
    "one byte": b"x",
    "almost the magic": MAGIC[:-1] + b"\r",
    "a request at once": struct.pack("<I", 8) + b"\x81\xa4kind\xa1x",
}
REFUSED_M1 = {
    "version 0": (8, 0),
    "scope 0": (9, 0),
    "scope 5": (9, 5),
    "scope 255": (9, 255),
    "scope above the ceiling": (9, 4),
    "key id": (10, 1),
}
BAD_FRAMES = {
    "length 0": struct.pack("<I", 0),
    "length 2^32 - 1": struct.pack("<I", 0xFFFFFFFF),
    "one over the first limit": struct.pack("<I", 4097),
    "not msgpack": struct.pack("<I", 3) + b"\xc1\xc1\xc1",
    "not a map": struct.pack("<I", 1) + b"\x05",
    "a map of 2^31": struct.pack("<I", 5) + b"\xdf\x80\x00\x00\x00",
    "depth 1000": struct.pack("<I", 1000) + b"\x91" * 1000,
    "a second handshake": M1,
    "an extension type": struct.pack("<I", 6) + b"\x81\xa1x\xd4\x01\x00",
    "a key that comes twice": struct.pack("<I", 7) + b"\x82\xa1x\x01\xa1x\x01",
    "text that is not UTF-8": struct.pack("<I", 5) + b"\x81\xa1x\xa1\xff",
    "not a number": struct.pack("<I", 12) + b"\x81\xa1x\xcb\x7f\xf8" + bytes(6),
    "unknown kind": b"\x0e\x00\x00\x00" + msgpack.packb({"kind": "reboot!"}),
}


@pytest.fixture
def host(stage: Stage) -> Host:
    host = start_host(stage, "plain")
    host.status()
    return host


def dial(host: Host) -> socket.socket:
    """Connect without a word."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    sock.connect(str(host.worker.wait_for_socket()))
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Read to the end; a reset is an end too."""
    found = b""
    try:
        while piece := sock.recv(4096):
            found += piece
    except ConnectionError:
        pass
    sock.close()
    return found


def takes(sock: socket.socket, data: bytes) -> bool:
    """Whether the far side is still there to read; else close ours."""
    with suppress(ConnectionError):
        sock.sendall(data)
        return True
    sock.close()
    return False


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_not_ours_is_closed_without_an_answer(data, host):
    with host.unharmed():
        sock = dial(host)
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
        assert read_all(sock) == b""


@pytest.mark.parametrize(("place", "value"), REFUSED_M1.values(), ids=REFUSED_M1.keys())
def test_a_hello_that_cannot_be_granted_gets_a_status_and_no_proof(place, value, host):
    with host.unharmed():
        sock = dial(host)
        hello = bytearray(M1)
        hello[place] = value
        sock.sendall(hello)
        answer = read_all(sock)
    assert len(answer) == 44
    assert answer[9] != 0


def test_a_wrong_token_is_noticed_by_the_client_and_refused_by_the_agent(host):
    with host.unharmed():
        with pytest.raises(AuthenticationError) as refused:
            connect(host.worker.wait_for_socket(), token=bytes(32))
        assert refused.value.code == "not-genuine"
        sock = dial(host)
        sock.sendall(M1 + bytes(32))
        began = time.monotonic()
        answer = read_all(sock)
        assert time.monotonic() - began >= 0.09
    assert answer[-44] == 0
    assert len(answer) > 44


def test_a_recorded_handshake_opens_nothing_when_it_is_replayed(host):
    token = (host.worker.run_dir / "token").read_bytes()
    recorded, sock = b"", dial(host)
    handshake = ClientHandshake(token, Scope.GRAPH)
    while not handshake.done:
        data = handshake.data_to_send()
        recorded += data
        sock.sendall(data)
        handshake.receive(sock.recv(handshake.wanted))
    sock.close()
    with host.unharmed():
        sock = dial(host)
        sock.sendall(recorded)
        answer = read_all(sock)
    assert answer[-44] == 0


def test_slow_handshakes_are_over_after_five_seconds_in_all(host):
    with host.unharmed():
        began = time.monotonic()
        slow = [dial(host) for _ in range(4)]
        for position in range(len(M1)):  # of which all would take far longer
            eventually(
                lambda at=began + position: time.monotonic() > at, what="a second"
            )
            if position == 3:
                takes(slow[0], M1[3:])
            slow = [sock for sock in slow if takes(sock, M1[position : position + 1])]
            if not slow:
                break
        assert not slow
        assert time.monotonic() - began > HANDSHAKE_DEADLINE_S - 1
        assert host.status()["pid"] == host.pid


def test_an_honest_client_is_served_beside_a_full_lobby(host):
    with host.unharmed():
        silent = [dial(host) for _ in range(MAX_UNAUTHENTICATED + 4)]
        began = time.monotonic()
        assert host.status()["pid"] == host.pid
        assert time.monotonic() - began < HANDSHAKE_DEADLINE_S
        assert host.descriptors() < 40
        assert read_all(silent.pop(0)) == b""  # who came first, for those who came last
        for sock in silent:
            sock.close()


def test_a_thousand_connections_leave_threads_and_files_bounded(host):
    with host.unharmed():
        threads = host.threads()
        flood = []
        for _ in range(1000):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(str(host.worker.wait_for_socket()))
            flood.append(sock)
        assert host.threads() <= threads
        assert host.descriptors() < 40
        for sock in flood:
            sock.close()
    lines = (host.worker.run_dir / "audit.log").read_text().splitlines()
    assert sum('"strangers"' in line for line in lines) <= 1


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_a_bad_frame_ends_its_session_and_no_other(frame, host):
    with host.unharmed(), host.connect() as other:
        with host.connect() as client:
            client.socket.sendall(frame)
            assert read_all(client.socket) == b""
        assert other.request("status").as_dict()["pid"] == host.pid
        other.close()


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "\0", "snapshot\n", "STATUS", " ", "__class__", "é" * 64],
)
def test_a_command_that_is_none_is_refused_in_words(name, host):
    with host.unharmed(), host.connect() as client:
        with pytest.raises(CommandError) as refused:
            client.request(name)
        assert refused.value.code == "unknown-command"
        assert client.request("status").as_dict()["pid"] == host.pid
        client.close()


def spoil(token: Path, how: str) -> None:
    genuine = token.read_bytes()
    if how == "a link":
        token.rename(token.with_name("elsewhere"))
        token.symlink_to("elsewhere")
    elif how == "none":
        token.unlink()
    elif how == "a fifo":
        token.unlink()
        os.mkfifo(token, 0o600)
    else:
        token.write_bytes(genuine[:31] if how == "31 bytes" else b"")
        if how == "for all to read":
            token.write_bytes(genuine)
            token.chmod(0o644)


@pytest.mark.parametrize(
    "how", ["for all to read", "a link", "empty", "31 bytes", "none", "a fifo"]
)
def test_an_agent_with_an_unfit_token_lets_nobody_in(how, host):
    token = host.worker.run_dir / "token"
    genuine = token.read_bytes()
    with host.unharmed():
        spoil(token, how)
        with pytest.raises(AuthenticationError) as refused:
            connect(host.worker.wait_for_socket(), token=genuine)
        assert refused.value.code == "key"
        token.unlink(missing_ok=True)
        token.write_bytes(genuine)
        token.chmod(0o600)


def test_strangers_at_the_port_do_not_keep_the_owner_from_the_socket(stage):
    port = free_port()
    host = start_host(stage, "plain", env={"LIVEHEAP_TCP": f"127.0.0.1:{port}"})
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    began = time.monotonic()
    assert host.status()["pid"] == host.pid
    assert time.monotonic() - began < HANDSHAKE_DEADLINE_S
    for sock in strangers:
        sock.close()


def is_served(host: Host) -> bool:
    with suppress(OSError, AuthenticationError):
        return bool(host.status()["pid"] == host.pid)
    return False


def test_hundreds_of_wrong_proofs_cost_one_line_and_no_thread(host):
    path = str(host.worker.wait_for_socket())
    with host.unharmed():
        threads, asked, sent = host.threads(), 0, 0
        while asked < 300 or sent <= 16:  # a full lobby closes before it is sent
            assert asked < 20_000
            asked += 1
            with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(M1 + bytes(32))
                sent += 1
        assert host.threads() <= threads
        eventually(lambda: is_served(host), what="the queue of strangers ends")
    lines = (host.worker.run_dir / "audit.log").read_text().splitlines()
    assert sum('"strangers"' in line for line in lines) <= 1


def test_half_a_frame_and_then_silence_holds_nobody_up(host):
    with host.unharmed(), host.connect() as client:
        client.socket.sendall(struct.pack("<I", 100) + b"\x81")
        assert host.status()["sessions"] == 2


def test_requests_byte_by_byte_are_answered(host):
    with host.connect() as client:
        body = msgpack.packb({"kind": "request", "id": 9, "command": "status"})
        for byte in struct.pack("<I", len(body)) + body:
            client.socket.send(bytes([byte]))
        answer = client.socket.recv(1 << 16)
    assert b"result" in answer


def test_more_sessions_than_allowed_are_told_busy(host):
    with host.unharmed():
        clients = [host.connect() for _ in range(4)]
        with pytest.raises(AuthenticationError) as refused:
            host.connect()
        assert refused.value.code == "busy"
        assert clients[0].request("status").as_dict()["sessions"] == 4
        for client in clients:
            client.close()


def test_a_client_that_never_reads_does_not_stop_the_worker(host):
    with host.unharmed():
        client = host.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(30):
            client.ask("status")
        assert host.do("answer = 1 + 1") == 2
        assert host.status()["sessions"] == 2
        client.close()


def test_a_client_killed_in_mid_session_is_gone_from_the_worker(host):
    with host.unharmed():
        clients = [host.connect() for _ in range(3)]
        for client in clients:
            client.ask("histogram")
            client.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.close()


def test_when_files_run_out_the_agent_rests_and_comes_back(host):
    host.do(
        """
import resource
BEFORE = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, BEFORE[1]))
HELD = []
try:
    while True:
        HELD.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
"""
    )
    stranger = dial(host)
    spent = cpu_seconds(host.pid)
    stranger.settimeout(0.5)
    with pytest.raises(TimeoutError):
        stranger.recv(1)
    assert cpu_seconds(host.pid) - spent < 0.1
    host.do("for each in HELD: os.close(each)")
    stranger.close()
    assert host.status()["pid"] == host.pid


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_session_notices_that_the_worker_was_killed(host):
    with host.connect() as client:
        host.worker.kill()
        with pytest.raises(Gone):
            client.next_message()
