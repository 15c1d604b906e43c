"""What goes wrong between a desk and a server, and what the client says of it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import liveheap, starting
from spawn import Worker, eventually
from ssh_server import NEEDS_BASH, NEEDS_SSHD, SshServer

pytestmark = NEEDS_SSHD
CANNOT_CONNECT = 3
BALLAST = 60_000


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("gevent_leak", BALLAST)
    worker.wait_for_socket()
    return worker


@pytest.fixture(autouse=True)
def worker_serves_on(worker: Worker) -> Iterator[None]:
    """Whatever a test did to the link: the worker answers, and has no child left."""
    yield
    if worker.process.poll() is not None:
        return
    here = {**worker.environ, "LIVEHEAP_TARGET": ""}
    liveheap("status", worker.pid, env=here)
    eventually(lambda: not children(worker.pid), what="the snapshot's child is gone")


def children(pid: int) -> list[str]:
    return [
        child
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]


def test_unknown_host_key_is_refused_in_ssh_s_own_words(
    server: SshServer, desk: dict[str, str]
) -> None:
    server.known_hosts.write_text("")

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "Host key verification failed" in done.stderr
    assert server.known_hosts.read_text() == ""


def test_changed_host_key_is_refused(server: SshServer, desk: dict[str, str]) -> None:
    stranger = (server.directory / "stranger_key.pub").read_text()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {stranger}")

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "Host key verification failed" in done.stderr


def test_wrong_key_is_refused_in_ssh_s_own_words(
    server: SshServer, desk: dict[str, str]
) -> None:
    shutil.copy(server.directory / "stranger_key", server.user_key)

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "Permission denied" in done.stderr
    assert "hint:" in done.stderr


def test_host_that_does_not_listen_is_said_to_refuse(
    server: SshServer, desk: dict[str, str]
) -> None:
    server.close()

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "refused" in done.stderr


def test_unknown_name_of_a_host_is_said_to_be_unknown(desk: dict[str, str]) -> None:
    done = liveheap("status", "nosuchhost.invalid", env=desk, expect=CANNOT_CONNECT)

    assert "nosuchhost.invalid" in done.stderr


def test_host_without_liveheap_and_python3_gets_a_hint_how_to_name_it(
    server: SshServer, desk: dict[str, str]
) -> None:
    config = server.directory / "sshd_config"
    bare = server.directory / "bare"
    bare.mkdir()
    lines = config.read_text().splitlines()
    config.write_text(
        "\n".join(
            f"SetEnv PATH={bare} HOME={server.home}"
            if line.startswith("SetEnv")
            else line
            for line in lines
        )
        + "\n"
    )
    server.process.send_signal(1)
    eventually(
        lambda: "listening" in server.log.partition("SIGHUP")[2],
        what="sshd has read its configuration again",
    )

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "on the PATH of box" in done.stderr
    assert "--remote-command" in done.stderr


@NEEDS_BASH
def test_noise_without_an_end_is_shown_and_given_up(
    server: SshServer, desk: dict[str, str]
) -> None:
    (server.home / ".bashrc").write_text("head -c 70000 /dev/zero | tr '\\0' 'x'\n")

    done = liveheap("status", "box", env=desk, expect=CANNOT_CONNECT)

    assert "xxxx" in done.stderr


def test_link_that_drops_in_mid_transfer_is_dialled_again(
    server: SshServer, desk: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "worker.liveheap"
    server.let_through(1_000_000)
    client = starting("snapshot", "gated", "-o", file, env=desk)

    assert server.gate_opened.read_text() == "open\n"
    server.cut()
    _, said = client.communicate(timeout=60)

    assert client.returncode == 0, said
    assert "going on" in said
    assert "x20" in liveheap("backrefs", "Letter", file, env=desk).stdout


def test_worker_that_ends_while_the_link_is_down_leaves_no_file(
    worker: Worker, server: SshServer, desk: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "worker.liveheap"
    server.let_through(1_000_000)
    client = starting("snapshot", "gated", "-o", file, env=desk)

    assert server.gate_opened.read_text() == "open\n"
    worker.kill()
    server.cut()
    _, said = client.communicate(timeout=60)

    assert client.returncode == CANNOT_CONNECT, said
    assert "no worker" in said
    assert "Traceback" not in said
    assert list(tmp_path.glob("worker.liveheap*")) == []


def test_client_that_is_interrupted_in_mid_transfer_ends_with_130(
    server: SshServer, desk: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "worker.liveheap"
    server.let_through(200_000)
    client = starting("snapshot", "gated", "-o", file, env=desk)

    assert server.gate_opened.read_text() == "open\n"
    client.send_signal(2)
    _, said = client.communicate(timeout=60)

    assert client.returncode == 130, said
    assert not file.exists()


def test_remote_command_names_a_liveheap_that_is_not_on_the_path(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    elsewhere = server.home / "elsewhere"
    own = f"{sys.executable} -m liveheap_client"
    elsewhere.write_text(f'#!/bin/sh\nexec {own} "$@"\n')
    elsewhere.chmod(0o700)

    done = liveheap("status", "box", "--remote-command", elsewhere, "--json", env=desk)

    assert str(worker.pid) in done.stdout


def test_hostile_host_names_run_nothing(desk: dict[str, str], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for name in (f"-oProxyCommand=touch {touched}", f"$(touch {touched})", "a b"):
        done = liveheap("status", "--", name, env=desk, expect=None)
        assert done.returncode != 0
    assert not touched.exists()
