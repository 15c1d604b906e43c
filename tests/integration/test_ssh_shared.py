"""One login for many commands: the shared connection, and all that may happen to it.

One worker and one sshd for all of these; each test has a desk of its own, and with it a
place of its own for the master's socket.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import liveheap, starting
from spawn import WORKERS, Worker, eventually
from ssh_server import NEEDS_SSHD, SshServer

from liveheap.protocol.auth import Scope
from liveheap_client.caller import Caller
from liveheap_client.dial import DialOptions
from liveheap_client.errors import TransportError
from liveheap_client.target import parse

pytestmark = NEEDS_SSHD
CANNOT_CONNECT, HINDERED = 3, 1
NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


@pytest.fixture
def server(site: tuple[Worker, SshServer]) -> SshServer:
    return site[1]


@pytest.fixture
def desk(
    site: tuple[Worker, SshServer],
) -> Iterator[dict[str, str]]:
    """A desk that nobody has used; the masters that it leaves behind are ended."""
    worker, server = site
    env = server.new_desk(worker.environ)
    yield env
    for path in sockets(env):
        end_master(env, path)


def sockets(desk: dict[str, str]) -> list[Path]:
    return sorted(Path(desk["HOME"], ".cache/liveheap").glob("cm-*"))


def master_of(desk: dict[str, str], path: Path) -> int | None:
    """Return the pid of the master that listens there."""
    asked = [*desk["LIVEHEAP_SSH"].split(), "-O", "check", "-o", f"ControlPath={path}"]
    done = subprocess.run([*asked, "box"], capture_output=True, text=True, check=False)
    found = re.search(r"Master running \(pid=(\d+)\)", done.stderr)
    return int(found[1]) if found else None


def end_master(desk: dict[str, str], path: Path) -> None:
    """Kill the master that listens there, so that it can clean up nothing."""
    pid = master_of(desk, path)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: master_of(desk, path) is None, what="the master is gone")


def pid_of(done: "subprocess.CompletedProcess[str]") -> int:
    found: int = json.loads(done.stdout)["pid"]
    return found


def test_a_stale_control_socket_is_replaced(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    worker, server = site
    liveheap("status", "box", env=desk)
    (path,) = sockets(desk)
    end_master(desk, path)
    assert path.exists()
    before = server.logins()

    answers = [liveheap("status", "box", "--json", env=desk) for _ in range(2)]

    assert [pid_of(done) for done in answers] == [worker.pid] * 2
    assert server.logins() == before + 1
    assert master_of(desk, path) is not None


def test_a_master_that_is_killed_ends_the_session_and_not_the_next_one(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    options = DialOptions(environ=desk, has_terminal=False)
    with Caller.to(parse("box"), options) as caller:
        session = caller.session(Scope.READ)
        session.request("status")
        (path,) = sockets(desk)
        end_master(desk, path)

        with pytest.raises(TransportError, match="ssh to box failed"):
            session.request("status")

        assert caller.session(Scope.READ).ident.pid == site[0].pid


@NEEDS_ROOT
@pytest.mark.parametrize("kind", ["socket", "file"])
def test_a_place_with_another_users_file_is_not_used(
    kind: str, site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    place = Path(desk["HOME"], ".cache/liveheap")
    place.mkdir(mode=0o700, parents=True)
    planted = place / "cm-planted"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "socket":
            listener.bind(str(planted))
        else:
            planted.touch()
        os.chown(planted, NOBODY, NOBODY)

        done = liveheap("status", "box", "--json", env=desk)

    assert pid_of(done) == site[0].pid
    assert sockets(desk) == [planted]


def test_many_at_once_all_get_in(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    clients = [starting("status", "box", "--json", env=desk) for _ in range(4)]

    said = [client.communicate(timeout=60) for client in clients]

    assert [client.returncode for client in clients] == [0] * 4, said
    assert [json.loads(out)["pid"] for out, _ in said] == [site[0].pid] * 4
    assert len(sockets(desk)) == 1


def test_without_mux_nothing_is_shared_or_left_behind(
    server: SshServer, desk: dict[str, str]
) -> None:
    before = server.logins()

    for _ in range(2):
        liveheap("status", "box", "--no-mux", env=desk)

    assert server.logins() == before + 2
    assert sockets(desk) == []


def with_config(server: SshServer, desk: dict[str, str], text: str) -> dict[str, str]:
    """Return a desk whose configuration says more, and includes the usual one."""
    config = Path(desk["HOME"], "config")
    config.write_text(f"{text}\nHost *\nInclude {server.client_config}\n")
    return {**desk, "LIVEHEAP_SSH": f"ssh -F {config}"}


def test_a_jump_host_and_an_included_file_go_through_untouched(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    worker, server = site
    inner = f"Host inner\nHostName 127.0.0.1\nPort {server.port}\nProxyJump box\n"
    same = "\n".join(
        line
        for line in server.client_config.read_text().splitlines()
        if line.split()[:1] in (["IdentityFile"], ["HostKeyAlias"], ["User"])
        or line.split()[:1] == ["UserKnownHostsFile"]
    )
    env = with_config(server, desk, f"{inner}{same}\nIdentityAgent none")
    before = server.logins()

    done = liveheap("status", "inner", "--json", env=env)

    assert pid_of(done) == worker.pid
    assert server.logins() == before + 2


@pytest.mark.parametrize(
    ("port", "key", "words"),
    [("1", "", "Connection refused"), ("", "x", "Host key verification failed")],
)
def test_why_a_jump_host_cannot_be_passed_is_told_although_logins_are_shared(
    port: str,
    key: str,
    words: str,
    site: tuple[Worker, SshServer],
    desk: dict[str, str],
) -> None:
    server = site[1]
    env = with_config(
        server,
        desk,
        f"Host jump\nHostName 127.0.0.1\nPort {port or server.port}\n"
        f"HostKeyAlias jump{key}\nUserKnownHostsFile {server.known_hosts}\n"
        "StrictHostKeyChecking yes\nIdentityAgent none\n"
        "Host inner\nHostName 127.0.0.1\nProxyJump jump",
    )

    done = liveheap("status", "inner", env=env, expect=CANNOT_CONNECT)
    found = liveheap("doctor", "inner", env=env, expect=HINDERED)

    assert words in done.stderr
    assert words in found.stdout


def test_a_way_that_has_ended_without_a_word_is_tried_once_more(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    worker, server = site
    seen = Path(desk["HOME"], "seen")
    gate = f"{sys.executable} {WORKERS / 'ssh_gate.py'} {seen}.gate"
    once = f"sh -c 'mkdir {seen} 2>&- && exit 1; exec {gate} 127.0.0.1 {server.port}'"
    env = with_config(server, desk, f"Host gated\nProxyCommand {once}")

    done = liveheap("status", "gated", "--json", env=env)

    assert seen.exists()
    assert pid_of(done) == worker.pid


def test_the_users_own_shared_connection_is_the_one_that_is_used(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    worker, server = site
    own = Path(desk["HOME"], "own")
    env = with_config(
        server,
        desk,
        f"Host box\nControlMaster auto\nControlPath {own}\nControlPersist 60",
    )

    done = liveheap("status", "box", "--json", env=env)

    assert pid_of(done) == worker.pid
    assert sockets(desk) == []
    assert own.exists()
    end_master(env, own)


def test_a_configured_remote_command_and_forwarding_are_not_in_the_way(
    site: tuple[Worker, SshServer], desk: dict[str, str]
) -> None:
    worker, server = site
    clash = f"LocalForward {server.port} 127.0.0.1:1"
    env = with_config(server, desk, f"Host box\nRemoteCommand tmux attach\n{clash}")

    done = liveheap("status", "box", "--json", env=env)

    assert pid_of(done) == worker.pid
