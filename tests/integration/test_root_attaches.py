"""Root asks another user's worker as that user, whatever he has put in his directory.

REMOTE.md, section 8, abuse case 22: nothing is opened, created or waited for as root.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from agent_host import Host
from command_line import liveheap
from spawn import Stage, eventually
from strangers import AS_ROOT, as_stranger, stranger_uid

from liveheap import registry
from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client import otheruser, workers
from liveheap_client.dial import DialOptions
from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.patience import Patience
from liveheap_client.session import Session
from liveheap_client.target import parse

pytestmark = AS_ROOT
OPTIONS = DialOptions(
    environ={},
    connect_timeout_s=30,
    patience=Patience(timeout_s=30),
    has_terminal=False,
)
ROOT = {
    **{k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")},
    "PYTHONUNBUFFERED": "1",
}
SLEEP = "print('ready', flush=True); sys.stdin.read()"
LISTEN = """
import _thread  # the folder of the others may be shut for this user
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[2])
sock.listen(int(sys.argv[3]))

def serve():
    while True:
        with sock.accept()[0] as client:
            heard = b''
            while len(heard) < 48 and (data := client.recv(4096)):
                heard += data
            print(heard.hex(), flush=True)
            try:
                client.sendall(b'x' * 200)
            except OSError:
                pass
            clients.append(client.dup())

clients = []
print('ready', flush=True)
if sys.argv[3] != '0':
    _thread.start_new_thread(serve, ())
sys.stdin.read()
"""


@pytest.fixture
def uid() -> Iterator[int]:
    """The number of another user; his directory goes afterwards."""
    uid = stranger_uid()
    yield uid
    place = directory_of(uid)
    if place.is_symlink():
        place.unlink()
    shutil.rmtree(place, ignore_errors=True)


def directory_of(uid: int) -> Path:
    return Path(f"/tmp/liveheap-{uid}")


@pytest.fixture
def host(stage: Stage, uid: int) -> Host:
    """A worker with an agent that has become another user."""
    host = Host(stage.spawn("agent_host", "plain", env={"LIVEHEAP_DIR": ""}))
    before = eventually(lambda: socket_of(0, host.pid), what="a socket of root's")
    host.do(f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})")
    with socket.socket(socket.AF_UNIX) as poke, suppress(OSError):
        poke.connect(str(before[0]))  # an agent looks when anybody asks, root's ps, too
    eventually(lambda: socket_of(uid, host.pid), what="a socket of the other user")
    return host


def socket_of(uid: int, pid: int) -> list[Path]:
    return sorted(directory_of(uid).glob(f"{pid}-*.sock"))


def peers(uid: int) -> set[int]:
    """Whom the agent's log names as having come."""
    lines = (directory_of(uid) / "audit.log").read_text().splitlines()
    told = [json.loads(line).get("peer") for line in lines]
    return {peer["uid"] for peer in told if peer}


@pytest.mark.parametrize("way", ["pid", "path"])
def test_root_asks_another_users_worker_as_that_user(way, host, uid):
    target = host.pid if way == "pid" else f"unix:{socket_of(uid, host.pid)[0]}"

    with Session.open(parse(str(target)), scope=Scope.READ, options=OPTIONS) as session:
        status = session.request("status")

    assert status.as_dict()["pid"] == host.pid
    assert peers(uid) == {uid}


def test_the_list_of_workers_asks_each_as_its_own_user(host, uid):
    def answers() -> bool:
        rows = json.loads(liveheap("ps", "--json", env=ROOT).stdout)
        return [row["state"] for row in rows if row["pid"] == host.pid] == ["answers"]

    eventually(answers, what="it answers in the second that ps gives everybody")
    assert peers(uid) == {uid}


def test_nothing_of_roots_is_left_in_a_fork_that_became_another(uid):
    with subprocess.Popen(
        ["sleep", "60"],
        preexec_fn=lambda: otheruser.become(uid),  # noqa: PLW1509 - this is the test
    ) as process:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.kill()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    for name in ("Uid", "Gid"):
        assert set(fields[name].split()) == {str(uid)}
    assert fields["Groups"].split() == []
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0


# Abuse case 22.


@pytest.fixture
def owned(uid: int) -> Callable[[Path], Path]:
    """Give a name to the other user."""

    def give(path: Path) -> Path:
        os.chown(path, uid, uid, follow_symlinks=False)
        return path

    return give


@pytest.fixture
def trap(uid: int, owned: Callable[[Path], Path]) -> Iterator[Path]:
    """The other user's directory; the name that a socket of his process would have."""
    directory = directory_of(uid)
    directory.mkdir(mode=0o700)
    owned(directory)
    process = as_stranger(uid, SLEEP)
    assert process.stdout
    process.stdout.readline()
    yield directory / f"{process.pid}-{registry.start_time(process.pid)}.sock"
    process.communicate()


@pytest.fixture
def listen(trap: Path, uid: int) -> Iterator[Callable[[int], Any]]:
    """Let a process of the other user listen, which has no agent."""
    with ExitStack() as held:

        def start(backlog: int) -> Any:
            process = held.enter_context(as_stranger(uid, LISTEN, trap, backlog))
            held.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


@pytest.fixture
def private(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket of root's, and beside it a file that nobody else can read."""
    tmp_path.chmod(0o700)
    (tmp_path / "secret").write_bytes(b"S" * 32)
    (tmp_path / "secret").chmod(0o600)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen(4)
        listening.setblocking(False)
        yield listening


def ask(trap: Path) -> list[LiveheapError]:
    """Let root ask whoever is behind a name, in every way; return what is said."""
    pid, said = trap.name.partition("-")[0], []
    assert pid not in [str(worker.pid) for worker in workers.local({})]
    for target in (pid, f"unix:{trap}"):
        with pytest.raises(LiveheapError) as refused:
            Session.open(parse(target), scope=Scope.READ, options=OPTIONS)
        said.append(refused.value)
    return said


def names(directory: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_mode for path in directory.iterdir()}


@pytest.mark.parametrize(
    "what", ["link to a socket", "link to a file", "fifo", "folder"]
)
def test_what_stands_for_a_socket_is_not_followed(what, trap, private, tmp_path, owned):
    if what == "fifo":
        os.mkfifo(trap, 0o600)
    elif what == "folder":
        trap.mkdir()
    else:
        trap.symlink_to(tmp_path / ("sock" if what == "link to a socket" else "secret"))
    owned(trap)
    before = names(trap.parent)

    assert all(isinstance(each, ConnectError) for each in ask(trap))

    with pytest.raises(BlockingIOError):
        private.accept()
    assert names(trap.parent) == before


def test_a_name_that_becomes_a_link_after_the_look_leads_nowhere(
    trap, private, tmp_path, uid, owned
):
    trap.symlink_to(tmp_path / "sock")
    owned(trap)

    with pytest.raises(ConnectError, match="Permission denied"):
        otheruser.knock(uid, trap, timeout_s=30, peer="worker")
    with pytest.raises(BlockingIOError):
        private.accept()


@pytest.mark.parametrize("what", ["link", "hard link", "fifo", "none"])
def test_a_token_that_is_none_of_the_users_is_not_read(
    what, trap, tmp_path, owned, listen
):
    tmp_path.chmod(0o700)
    whose = trap.parent.stat().st_uid
    secret = tmp_path / "secret"
    secret.write_bytes(b"S" * 32)
    secret.chmod(0o600)
    token = trap.with_name("token")
    if what == "fifo":
        os.mkfifo(token, 0o600)
    elif what == "link":
        token.symlink_to(secret)
    elif what == "hard link":
        try:
            os.link(secret, token)
        except OSError:
            token.unlink(missing_ok=True)
            pytest.skip("another file system")
    if what not in ("none", "hard link"):
        owned(token)
    listen(8)

    transport, found = otheruser.knock(whose, trap, timeout_s=30, peer="worker")
    transport.close()

    assert found is None
    assert secret.read_bytes() == b"S" * 32


def test_another_process_s_socket_gets_a_hello_and_no_proof(trap, owned, listen):
    trap.with_name("token").write_bytes(b"T" * 32)
    trap.with_name("token").chmod(0o600)
    owned(trap.with_name("token"))
    process = listen(8)

    with pytest.raises(AuthenticationError, match="not a liveheap agent"):
        Session.open(parse(f"unix:{trap}"), scope=Scope.READ, options=OPTIONS)
    said, _ = process.communicate()

    assert max(len(bytes.fromhex(line)) for line in said.splitlines()) == 48


def test_a_socket_that_takes_nobody_is_given_up(trap, uid, listen):
    listen(0)
    with socket.socket(socket.AF_UNIX) as first:
        first.setblocking(False)
        with suppress(BlockingIOError):  # root's ps of another test was the first
            first.connect(str(trap))
        with pytest.raises(TimedOut):
            otheruser.knock(uid, trap, timeout_s=0.3, peer="worker")


def test_facts_that_lead_elsewhere_are_no_facts_and_hold_nobody_up(
    trap, tmp_path, owned, listen
):
    (tmp_path / "secret").write_text('{"program": "SECRET"}')
    listen(8)
    facts = trap.with_suffix(".json")
    for make in (
        lambda: facts.symlink_to(tmp_path / "secret"),
        lambda: os.mkfifo(facts, 0o600),
        lambda: facts.symlink_to("/dev/zero"),
    ):
        make()
        owned(facts)
        (found,) = [each for each in workers.local({}) if each.entry.socket == trap]
        assert found.fact("program") is None
        facts.unlink()


def test_a_directory_that_is_a_link_is_passed_over(uid, tmp_path, owned):
    tmp_path.chmod(0o700)
    directory = directory_of(uid)
    directory.symlink_to(tmp_path)
    owned(directory)
    start = registry.start_time(os.getpid())
    (tmp_path / f"{os.getpid()}-{start}.sock").touch()

    assert os.getpid() not in [worker.pid for worker in workers.local({})]
    assert stat.S_ISLNK(directory.lstat().st_mode)
