"""A machine with workers and a python3, but no `liveheap` for who logs in there."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker, eventually
from terminal import FAKE_SSH

from liveheap_client.transport import sending

CANNOT_CONNECT, REFUSED = 3, 4
SHELLS = ("sh", "bash", "rbash", "dash", "zsh", "ksh", "mksh", "tcsh", "fish")
OLD_MINORS = (6, 7, 8, 9)


def old_pythons() -> dict[str, str]:
    """Return the interpreters here that are older than liveheap's oldest, by version.

    Where a version manager has none, its own command of that name ends with an error.
    """
    found = {}
    for name in (f"python3.{minor}" for minor in OLD_MINORS):
        if command := shutil.which(name):
            asked = [command, "-c", "import sys; print(sys.executable)"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[name] = done.stdout.strip()
    return found


def bare_host(
    env: dict[str, str], tmp_path: Path, *, python: str | None, shell: str = "/bin/sh"
) -> dict[str, str]:
    """Return the environment of somebody for whom every host is such a machine."""
    path = tmp_path / "bin"
    path.mkdir(parents=True)
    if python is not None:
        (path / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (path / "python3").chmod(0o755)
    return {
        **env,
        "LIVEHEAP_SSH": f"{sys.executable} {FAKE_SSH} run",
        "FAKE_SSH_PATH": str(path),
        "FAKE_SSH_SHELL": shell,
    }


def test_its_python3_is_asked_and_that_is_said(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    env = bare_host(env, tmp_path, python=sys.executable)
    record = tmp_path / "record"

    done = liveheap(
        "status", "box", "--json", env={**env, "FAKE_SSH_RECORD": str(record)}
    )

    commands = [line.split("\t")[-1] for line in record.read_text().splitlines()]
    assert json.loads(done.stdout)["pid"] == worker.pid
    assert "no `liveheap` on the PATH of box: its python3 gets" in done.stderr
    assert commands[0].startswith("liveheap bridge --scope graph")
    assert commands[1].startswith("python3 -I -S -c '")
    assert len(commands) == 2
    assert len(commands[1]) < 200


def test_a_whole_snapshot_comes_that_way(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    env = bare_host(env, tmp_path, python=sys.executable)
    file = tmp_path / "x.liveheap"

    liveheap("snapshot", f"box/{worker.pid}", "-o", file, env=env)

    assert "type" in liveheap("histogram", file, env=env).stdout


def test_ps_lists_the_same_workers_as_a_bridge_there(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    (here,) = json.loads(liveheap("ps", "--json", env=env).stdout)
    env = bare_host(env, tmp_path, python=sys.executable)

    (far,) = json.loads(liveheap("ps", "box", "--json", env=env).stdout)

    unknown_there = {"uss", "shared", "running", "done", "tasks"}
    changing = {"uptime", "rss", "settled_rss", "grown", "state"}
    assert set(here) - set(far) <= unknown_there
    assert {name for name in far if far[name] != here[name]} <= changing
    assert far["rss"] == pytest.approx(here["rss"], rel=0.2)
    assert far["uptime"] == pytest.approx(here["uptime"], abs=30)
    assert far["state"] is None


@pytest.mark.parametrize("shell", list(filter(shutil.which, SHELLS)))
def test_every_shell_there_reads_the_command_alike(
    shell: str, worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    env = bare_host(
        env, tmp_path, python=sys.executable, shell=str(shutil.which(shell))
    )

    done = liveheap("status", f"box/{worker.pid}", "--json", env=env)

    assert json.loads(done.stdout)["pid"] == worker.pid


def test_the_relay_is_written_in_python_3_6() -> None:
    source = sending.program({}).decode()

    ast.parse(source, feature_version=(3, OLD_MINORS[0]))


def test_an_old_python3_is_good_enough(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    for name, executable in old_pythons().items():
        env = bare_host(env, tmp_path / name, python=executable)

        done = liveheap("status", "box", "--json", env=env)
        listed = json.loads(liveheap("ps", "box", "--json", env=env).stdout)

        assert json.loads(done.stdout)["pid"] == worker.pid
        assert [row["pid"] for row in listed] == [worker.pid]


def test_a_python3_that_is_too_old_is_said_to_be(
    env: dict[str, str], tmp_path: Path
) -> None:
    ancient = tmp_path / "ancient.py"
    says = "import sys; sys.version_info = (3, 5, 9)"
    ancient.write_text(f"{says}; exec(sys.argv[sys.argv.index('-c') + 1])")
    env = bare_host(env, tmp_path, python=f"{sys.executable} {ancient}")

    done = liveheap("status", "box", env=env, expect=CANNOT_CONNECT)

    assert "python3 on box is older than Python 3.6" in done.stderr
    assert "hint: name it: --remote-command" in done.stderr


def test_without_python3_both_are_said_to_be_missing(
    env: dict[str, str], tmp_path: Path
) -> None:
    env = bare_host(env, tmp_path, python=None)

    done = liveheap("status", "box", env=env, expect=CANNOT_CONNECT)

    assert "neither `liveheap` nor `python3` is on the PATH of box" in done.stderr
    assert "hint: name it: --remote-command" in done.stderr


def test_a_remote_command_that_is_not_there_is_not_replaced(
    env: dict[str, str], tmp_path: Path
) -> None:
    env = bare_host(env, tmp_path, python=sys.executable)
    words = ("status", "box", "--remote-command", "/opt/nowhere/liveheap")

    done = liveheap(*words, env=env, expect=CANNOT_CONNECT)

    assert "python3" not in done.stderr
    assert "no `liveheap` on the PATH of box" in done.stderr


def test_several_workers_are_listed_to_choose_from(
    worker: Worker,
    env: dict[str, str],
    tmp_path: Path,
    spawn_worker: Callable[..., Worker],
) -> None:
    other = spawn_worker("plain", env={"LIVEHEAP_DIR": str(worker.run_dir)})
    eventually(lambda: len(worker.sockets()) == 2, what="both have their sockets")
    env = bare_host(env, tmp_path, python=sys.executable)

    several = liveheap("status", "box", env=env, expect=2)
    nobody = liveheap("status", "box/nobody", env=env, expect=3)

    assert f"{other.pid} " in several.stderr
    assert "hint: name one of them as the target: box/PID" in several.stderr
    assert "no worker of this user's is called" in nobody.stderr


@pytest.mark.parametrize("unfit", ["0644", "short", "link"])
def test_an_unfit_token_is_an_error_and_no_output_has_it(
    unfit: str, worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    token = worker.run_dir / "token"
    if unfit == "0644":
        token.chmod(0o644)
    elif unfit == "short":
        token.write_bytes(b"SECRET")
    else:
        token.rename(tmp_path / "elsewhere")
        token.symlink_to(tmp_path / "elsewhere")
    env = bare_host(env, tmp_path, python=sys.executable)

    done = liveheap("status", "box", env=env, expect=REFUSED)

    assert str(token) in done.stderr
    assert "SECRET" not in done.stdout + done.stderr


def test_another_token_than_the_agents_is_not_genuine(
    env: dict[str, str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(os.urandom(32))
    env = bare_host(env, tmp_path, python=sys.executable)

    done = liveheap(
        "status", "box", env={**env, "LIVEHEAP_TOKEN_FILE": str(secret)}, expect=REFUSED
    )

    assert "not genuine" in done.stderr


def test_a_scope_that_the_worker_does_not_offer_is_refused_in_the_usual_words(
    env: dict[str, str], tmp_path: Path, spawn_worker: Callable[..., Worker]
) -> None:
    worker = spawn_worker("plain", env={"LIVEHEAP_ALLOW": "read"})
    worker.wait_for_socket()
    env = bare_host({**worker.environ}, tmp_path, python=sys.executable)

    done = liveheap(
        "snapshot", "box", "-o", tmp_path / "x.liveheap", env=env, expect=REFUSED
    )

    assert "the worker does not offer scope graph" in done.stderr
    assert "hint: its owner can: LIVEHEAP_ALLOW=graph" in done.stderr
