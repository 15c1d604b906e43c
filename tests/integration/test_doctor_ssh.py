"""The doctor on a host behind ssh: what is said there, and what keeps us from it."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import MODULE
from spawn import Worker, eventually
from ssh_server import NEEDS_BASH, NEEDS_SSHD, SshServer
from test_doctor import examined

from liveheap_client import target as targets
from liveheap_client.dial import DialOptions
from liveheap_client.doctor import journey
from liveheap_client.patience import Patience

pytestmark = NEEDS_SSHD
HINDERED = 1


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    return worker


def doctor(*words: object, env: dict[str, str], expect: int) -> dict[str, list[str]]:
    """Run it; return its sentences by state, those of problems with their hints."""
    answer = examined(*words, env=env, expect=expect)
    found: dict[str, list[str]] = {"ok": [], "note": [], "problem": []}
    for each in answer["findings"]:
        hint = f" try: {each['hint']}" if each["state"] == "problem" else ""
        found[each["state"]].append(f"{each['check']}: {each['said']}{hint}")
    return found


def path_of_sessions(server: SshServer, path: str) -> None:
    """Let the server's sessions have another PATH."""
    config = server.directory / "sshd_config"
    lines = config.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("SetEnv")]
    config.write_text("\n".join([*kept, f"SetEnv PATH={path} HOME={server.home}", ""]))
    server.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: "listening" in server.log.partition("SIGHUP")[2],
        what="sshd has read its configuration again",
    )


def test_the_doctor_there_has_the_word_and_a_login_that_works_is_said(
    worker: Worker, desk: dict[str, str]
) -> None:
    found = doctor(f"box/{worker.pid}", env=desk, expect=0)

    assert found["ok"][0].startswith("ssh: box was reached in ")
    heard = found["ok"] + found["note"]  # a note where the machine is busy: slowly
    assert any(each.startswith("agent: it answers") for each in heard)


@NEEDS_BASH
def test_what_a_shell_prints_first_is_noted(
    server: SshServer, desk: dict[str, str]
) -> None:
    (server.home / ".bashrc").write_text("echo 'Welcome {to} box'\n")
    found = doctor("box", env=desk, expect=0)
    assert any("bytes before our first word" in each for each in found["note"])


def test_a_key_that_nobody_accepts_is_told_from_a_host_that_is_away(
    server: SshServer, desk: dict[str, str]
) -> None:
    shutil.copy(server.directory / "stranger_key", server.user_key)
    refused = doctor("box", env=desk, expect=HINDERED)
    server.close()
    away = doctor("box", env=desk, expect=HINDERED)

    assert "Permission denied" in refused["problem"][0]
    assert any(str(server.user_key) in each for each in refused["note"])
    assert any(
        "nobody accepts connections at 127.0.0.1" in each for each in away["problem"]
    )


def test_a_host_key_that_is_not_known_is_ssh_s_own_word(
    server: SshServer, desk: dict[str, str]
) -> None:
    server.known_hosts.write_text("")
    found = doctor("box", env=desk, expect=HINDERED)
    assert "Host key verification failed" in found["problem"][0]
    assert server.known_hosts.read_text() == ""


def test_a_name_that_nobody_knows_is_said_to_be_unknown(desk: dict[str, str]) -> None:
    found = doctor("nosuchhost.invalid", env=desk, expect=HINDERED)
    assert any(
        "nosuchhost.invalid is not known here" in each for each in found["problem"]
    )


def test_a_liveheap_beside_the_path_is_found(
    server: SshServer, desk: dict[str, str]
) -> None:
    bare = server.directory / "bare"
    bare.mkdir()
    hidden = server.home / ".local" / "bin"
    hidden.mkdir(parents=True)
    (hidden / "liveheap").symlink_to(Path(shutil.which("true") or "/bin/true"))
    path_of_sessions(server, f"{bare}:/usr/bin:/bin")

    found = doctor("box", env=desk, expect=HINDERED)

    (only,) = [each for each in found["problem"] if each.startswith("liveheap: ")]
    assert f"--remote-command {hidden}/liveheap" in only
    assert "ssh: the login at box works" in found["ok"]


def test_behind_via_the_doctor_takes_the_bridge_s_place(worker: Worker) -> None:
    bridge = f"{' '.join(MODULE)} bridge --pid {worker.pid}"
    found = doctor("--via", bridge, env=worker.environ, expect=0)
    assert any(f"process {worker.pid} (" in each for each in found["ok"])

    other = doctor("--via", "echo bridge", env=worker.environ, expect=HINDERED)
    assert "printed no answer of a doctor" in other["problem"][0]


def test_who_waits_for_a_doctor_is_told_so(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    os.mkfifo(ended)
    target = targets.via(f"sh -c 'read word < {ended}' bridge")
    told: list[str] = []

    def say(message: str) -> None:
        told.append(message)
        if len(told) == 1:
            ended.write_text("yes\n")

    patience = Patience(say=say)
    journey.look(target, DialOptions({}, patience=patience, ungreeted_s=0.05))

    assert told[0].startswith("no answer from ")
