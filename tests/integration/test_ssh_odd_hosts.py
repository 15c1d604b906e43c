"""Accounts and machines that are not quite as one expects them.

One worker and one sshd for all of these; an account is changed for one test by what
its key may run.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker
from ssh_server import NEEDS_BASH, NEEDS_SSHD, SshServer

pytestmark = NEEDS_SSHD
CANNOT_CONNECT = 3
ALONE = ("--no-mux", "--json")
KIB = 1024


@pytest.fixture
def worker(site: tuple[Worker, SshServer]) -> Worker:
    return site[0]


@pytest.fixture
def server(site: tuple[Worker, SshServer]) -> SshServer:
    return site[1]


@pytest.fixture
def desk(worker: Worker, server: SshServer) -> dict[str, str]:
    return server.new_desk(worker.environ)


def pid_of(output: str) -> int:
    found: int = json.loads(output)["pid"]
    return found


@NEEDS_BASH
@pytest.mark.parametrize(("kib", "is_enough"), [(63, True), (65, False)])
def test_noise_before_the_greeting_is_skipped_up_to_its_limit(
    kib: int, is_enough: bool, worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    line = "do not log in here on a Friday\n"
    motd = server.home / "motd"
    motd.write_text((line * (kib * KIB // len(line) + 1))[: kib * KIB])
    (server.home / ".bashrc").write_text(f"cat {motd}\n")
    try:
        done = liveheap("status", "box", *ALONE, env=desk, expect=None)
    finally:
        (server.home / ".bashrc").unlink()

    if is_enough:
        assert pid_of(done.stdout) == worker.pid
    else:
        assert done.returncode == CANNOT_CONNECT
        assert "more than 64 KiB came before any word of liveheap" in done.stderr
        assert "on a Friday" in done.stderr


def test_an_account_with_a_forced_command_is_told_in_its_words(
    server: SshServer, desk: dict[str, str]
) -> None:
    with server.forced("echo this account is for git only; exit 1"):
        done = liveheap("status", "box", *ALONE, env=desk, expect=CANNOT_CONNECT)

    assert "this account is for git only" in done.stderr
    assert "exit code 1" in done.stderr


def test_an_account_may_be_forced_to_be_a_bridge(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    own = f"{sys.executable} -m liveheap_client"
    with server.forced(f"exec {own} bridge --scope graph"):
        done = liveheap("status", "box", *ALONE, env=desk)

    assert pid_of(done.stdout) == worker.pid


@pytest.mark.parametrize("path", ["", "PATH=$HOME/python3-only"])
def test_a_restricted_shell_runs_the_bridge_and_what_stands_in_for_it(
    path: str, worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    if path:
        (server.home / "python3-only").mkdir()
        (server.home / "python3-only/python3").symlink_to(sys.executable)
    command = f'{path} exec /bin/bash -r -c "$SSH_ORIGINAL_COMMAND"'
    with server.forced(command):
        done = liveheap("status", "box", *ALONE, env=desk)

    assert pid_of(done.stdout) == worker.pid
    assert ("its python3 gets a program" in done.stderr) == bool(path)


def test_a_bridge_needs_no_room_on_a_full_disk(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    with server.forced('ulimit -f 0; eval "$SSH_ORIGINAL_COMMAND"'):
        status = liveheap("status", "box", *ALONE, env=desk)
        listed = liveheap("ps", "box", *ALONE, env=desk)

    assert pid_of(status.stdout) == worker.pid
    assert [row["pid"] for row in json.loads(listed.stdout)] == [worker.pid]


@pytest.mark.parametrize("known", ["unknown", "changed"])
def test_a_strange_host_key_ends_it_at_once_in_ssh_s_words_and_leaves_no_part(
    known: str, server: SshServer, desk: dict[str, str], tmp_path: Path
) -> None:
    before = server.known_hosts.read_text()
    stranger = (server.directory / "stranger_key.pub").read_text()
    text = "" if known == "unknown" else f"[127.0.0.1]:{server.port} {stranger}"
    server.known_hosts.write_text(text)
    logins, file = server.logins(), tmp_path / "x.liveheap"
    try:
        done = liveheap("snapshot", "box", "-o", file, env=desk, expect=CANNOT_CONNECT)
        seen = server.known_hosts.read_text()
    finally:
        server.known_hosts.write_text(before)

    assert done.stderr.count("Host key verification failed") == 1
    assert "hint: " in done.stderr
    assert "again" not in done.stderr
    assert seen == text
    assert server.logins() == logins
    assert os.listdir(tmp_path) == []


def test_a_host_that_needs_a_password_is_refused_and_not_waited_for(
    server: SshServer, desk: dict[str, str]
) -> None:
    config = Path(desk["HOME"], "config")
    config.write_text(
        f"Host box\nIdentityFile none\nPreferredAuthentications password\n"
        f"Host *\nInclude {server.client_config}\n"
    )
    env = {**desk, "LIVEHEAP_SSH": f"ssh -F {config}"}

    done = liveheap("status", "box", "--no-mux", env=env, expect=CANNOT_CONNECT)

    assert "Permission denied" in done.stderr
    assert "hint: " in done.stderr


def test_the_token_stays_where_it_is_when_a_program_stands_in(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    (token,) = [path for path in worker.run_dir.iterdir() if path.name == "token"]
    tapped, sent, came = (server.directory / name for name in ("tap", "sent", "came"))
    tapped.mkdir()
    tee = shutil.which("tee")
    script = f'{tee} {sent} | {sys.executable} "$@" | {tee} {came}'
    (tapped / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (tapped / "python3").chmod(0o700)
    with server.forced(f'PATH={tapped} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'):
        liveheap("status", "box", *ALONE, env=desk)

    secret = token.read_bytes()
    wire = sent.read_bytes() + came.read_bytes()
    assert b"def find_token" in sent.read_bytes()
    assert b"LHEAP" in came.read_bytes()
    assert secret not in wire
    assert secret.hex().encode() not in wire
