"""One command, several hosts: side by side, and what fails is told by itself."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import liveheap, starting
from spawn import Worker, eventually
from terminal import FAKE_SSH, on_a_screen

CANNOT_CONNECT = 3
REMOTE = f"{sys.executable} -m liveheap_client"


@pytest.fixture
def hosts(spawn_worker: Callable[..., Worker], tmp_path: Path) -> dict[str, Worker]:
    """Two hosts with a worker each, which leak alike."""
    found = {}
    for name in ("web-1", "web-2"):
        worker = spawn_worker("leaky_fleet", "cache")
        worker.wait_for_socket(child_of(worker))
        found[name] = worker
    return found


def child_of(worker: Worker) -> int:
    (pid,) = (int(word) for word in worker.said.split()[:-1])
    return pid


@pytest.fixture
def env(hosts: dict[str, Worker], tmp_path: Path) -> dict[str, str]:
    """A desk from which ssh leads to these hosts, and to no other."""
    places = {name: str(worker.run_dir) for name, worker in hosts.items()}
    desk = tmp_path / "desk"
    desk.mkdir(mode=0o700)
    worker = hosts["web-1"]
    return {
        **worker.environ,
        "HOME": str(desk),
        "LIVEHEAP_DIR": str(desk),
        "LIVEHEAP_SSH": f"{sys.executable} {FAKE_SSH} hosts",
        "FAKE_SSH_HOSTS": json.dumps(places),
    }


def listed(*words: str, env: dict[str, str], expect: int = 0) -> list[dict[str, Any]]:
    done = liveheap(
        *("ps", *words, "--json", "--remote-command", REMOTE), env=env, expect=expect
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_ps_lists_the_workers_of_all_hosts_with_their_host(
    hosts: dict[str, Worker], env: dict[str, str]
) -> None:
    rows = listed("web-1", "web-2", "web-1", env=env)

    assert [row["host"] for row in rows] == ["web-1", "web-1", "web-2", "web-2"]
    assert [row["pid"] for row in rows if not row["depth"]] == [
        hosts[name].pid for name in ("web-1", "web-2")
    ]


def test_a_host_that_fails_has_its_own_line_and_loses_no_other(
    env: dict[str, str],
) -> None:
    rows = listed("web-1", "nowhere", "web-2", env=env, expect=CANNOT_CONNECT)
    done = liveheap(
        *("ps", "web-1", "nowhere", "--remote-command", REMOTE),
        env=env,
        expect=CANNOT_CONNECT,
    )

    assert [row["host"] for row in rows] == [*["web-1"] * 2, *["web-2"] * 2, "nowhere"]
    assert "Could not resolve hostname nowhere" in rows[-1]["error"]
    assert done.stdout.split()[:2] == ["host", "pid"]
    assert done.stderr.startswith("nowhere: ssh to nowhere failed: ")
    assert len(done.stderr.splitlines()) == 1


def test_several_hosts_are_asked_without_a_prompt_even_on_a_terminal(
    env: dict[str, str], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    words = ("ps", "web-1", "web-2", "--remote-command", REMOTE)
    with on_a_screen(*words, env={**env, "FAKE_SSH_RECORD": str(record)}) as screen:
        assert screen.end() == 0

    assert "of 2 hosts have answered" in screen.seen
    assert "web-2" in screen.seen
    assert record.read_text().count("BatchMode=yes") == 2
    assert "BatchMode=no" not in record.read_text()


def test_watched_hosts_are_headed_by_how_many_answer(env: dict[str, str]) -> None:
    words = ("ps", "web-1", "nowhere", "--remote-command", REMOTE, "--watch", "0.1")
    with starting(*words, env=env) as process:
        assert process.stdout is not None
        blocks = [list(iter(process.stdout.readline, "\n")) for _ in range(2)]
        process.stdout.close()
        process.wait(60)

    for headline, titles, *rest in blocks:
        assert " 2 workers" in headline
        assert "on 1 of 2 hosts" in headline
        assert titles.startswith("host")
        assert rest[-1].startswith("nowhere: ssh to nowhere failed")


def test_leaks_over_hosts_ranks_all_workers_and_says_whether_they_leak_alike(
    hosts: dict[str, Worker], env: dict[str, str], tmp_path: Path
) -> None:
    first, second = (f"{name}/{child_of(worker)}" for name, worker in hosts.items())
    done = liveheap(
        *("leaks", "--all", first, "nowhere", second, "--remote-command", REMOTE),
        *("--interval", "0.5", "--rounds", 3, "--json", "--keep", tmp_path / "kept"),
        env=env,
        expect=CANNOT_CONNECT,
    )
    found = json.loads(done.stdout)
    names = [one["worker"] for one in found["workers"]]

    assert found["sentence"].startswith("2 of 2 workers grow alike: __main__.CACHE")
    assert set(found["leaks"][0]["workers"]) == {first, second}
    assert sorted(names[:2]) == [first, second]
    assert names[2:] == ["nowhere"]
    assert "Could not resolve" in found["workers"][-1]["failure"]
    assert found["next"] == f"liveheap leaks {names[0]}"
    assert len(list((tmp_path / "kept").glob("web-*/*/round-*.liveheap"))) == 3 * 2


def test_if_no_host_answers_the_first_error_is_the_commands(
    env: dict[str, str],
) -> None:
    done = liveheap(
        *("diff", "--all", "nowhere", "no-one"), env=env, expect=CANNOT_CONNECT
    )

    assert "liveheap: ssh to nowhere failed" in done.stderr
    assert "hint: is the name right?" in done.stderr


def test_ctrl_c_ends_it_though_a_host_never_answers(
    env: dict[str, str], tmp_path: Path
) -> None:
    hanging = {**env, "FAKE_SSH_HOSTS": "{}", "FAKE_SSH_HANGS": str(tmp_path / "up")}
    with starting("ps", "web-1", "web-2", env=hanging) as process:
        eventually((tmp_path / "up").exists, what="an ssh has begun")
        process.send_signal(2)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted" in said
