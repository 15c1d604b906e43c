"""`--via`: real namespaces, a real terminal in between, and commands like sudo."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Stage, Worker
from test_ps_namespaces import KINDS, MAY_UNSHARE, PRIVATE, WORKERS, python_of

from liveheap_client.errors import SSHError
from liveheap_client.transport import via

CANNOT_CONNECT = 3
LIVEHEAP = Path(sys.executable).with_name("liveheap")


@pytest.fixture
def worker(stage: Stage) -> Worker:
    worker = stage.spawn("plain")
    worker.wait_for_socket()
    return worker


@pytest.fixture
def container(stage: Stage) -> Worker:
    """A worker that is pid 1 of its own pid namespace, with files of its own."""
    program = f"{PRIVATE}{sys.executable} {WORKERS / 'plain.py'}"
    command = [*KINDS["a container"], "sh", "-c", program]
    return stage.spawn_command(command, env={"LIVEHEAP_DIR": ""})


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def only_python3(tmp_path: Path) -> Path:
    """Return a PATH with a python3, and no liveheap."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    return folder


@pytest.mark.skipif(not MAY_UNSHARE, reason="needs root and unshare")
def test_nsenter_reaches_a_container_by_its_own_pid_1(
    container: Worker, tmp_path: Path
) -> None:
    enter = f"nsenter -t {python_of(container)} -m -p"
    bare = f"env PATH={only_python3(tmp_path)}"

    status, listed, without = (
        json.loads(liveheap(*words, "--json", env=container.environ).stdout)
        for words in (
            ("status", "--via", f"{enter} {LIVEHEAP} bridge --pid 1"),
            ("ps", "--via", f"{enter} {LIVEHEAP} bridge"),
            ("status", "--via", f"{enter} {bare} liveheap bridge --pid 1"),
        )
    )

    assert status["pid"] == without["pid"] == 1
    assert status["instance"] == without["instance"]
    assert [row["pid"] for row in listed] == [1]


def test_where_sudo_finds_no_liveheap_its_python3_is_asked(
    worker: Worker, tmp_path: Path
) -> None:
    path = only_python3(tmp_path)
    sudo = script(
        tmp_path / "sudo",
        "shift",
        f"PATH={path}",
        'command -v "$1" >/dev/null || { echo "sudo: $1: command not found" >&2; '
        "exit 1; }",
        'exec "$@"',
    )
    words = ("--via", f"{sudo} -n liveheap bridge --pid {worker.pid}", "--json")

    done = liveheap("status", *words, env=worker.environ)
    listed = liveheap("ps", "--via", f"{sudo} -n liveheap bridge", env=worker.environ)

    assert json.loads(done.stdout)["pid"] == worker.pid
    assert "no `liveheap` there" in done.stderr
    assert str(worker.pid) in listed.stdout


@pytest.mark.parametrize(
    ("says", "hint"),
    [
        ("sudo: a password is required", "sudo -v first"),
        ("Error response from daemon: No such container: web", "docker ps"),
        ('Error from server (NotFound): pods "web" not found', "kubectl get pods"),
        ("the input device is not a TTY", "no -t: docker exec -i"),
        ("nsenter: reassociate: Operation not permitted", "it needs root"),
    ],
)
def test_what_such_commands_say_of_their_own_troubles_has_a_hint(
    says: str, hint: str
) -> None:
    error = via.explain("cmd")(1, says)

    assert isinstance(error, SSHError)
    assert says in str(error)
    assert str(error.hint).startswith(hint)


@pytest.mark.parametrize("name", [str(LIVEHEAP), "liveheap"])
def test_a_missing_i_is_noticed(name: str, worker: Worker, tmp_path: Path) -> None:
    docker = script(
        tmp_path / "docker",
        "shift",
        f"PATH={only_python3(tmp_path)}",
        '"$@" </dev/null',
    )

    done = liveheap(
        *("status", "--via", f"{docker} exec {name} bridge --pid {worker.pid}"),
        env=worker.environ,
        expect=CANNOT_CONNECT,
    )

    assert "stdin is closed" in done.stderr
    assert "hint: docker exec -i, kubectl exec -i" in done.stderr


@pytest.mark.skipif(shutil.which("script") is None, reason="no script here")
def test_a_terminal_in_between_is_noticed_by_what_it_does_to_the_magic(
    worker: Worker, tmp_path: Path
) -> None:
    inner = f"{LIVEHEAP} bridge --scope graph --pid {worker.pid}"
    docker = script(tmp_path / "docker", f"script -qec {shlex.quote(inner)} /dev/null")

    done = liveheap(
        *("status", "--via", str(docker)), env=worker.environ, expect=CANNOT_CONNECT
    )

    assert "a terminal in between mangles the bytes" in done.stderr
    assert "hint: no -t: docker exec -i" in done.stderr
