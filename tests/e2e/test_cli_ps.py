"""`ps` against a real tree of processes: once, through a bridge, and watched."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import liveheap, starting
from spawn import Stage, Worker, eventually, stop
from terminal import on_a_screen


@pytest.fixture(scope="module")
def tree() -> Iterator[Worker]:
    """A master and two children, all of which answer."""
    stage = Stage()
    try:
        worker = stage.spawn("prefork")
        for pid in children(worker):
            worker.wait_for_socket(pid)
        yield worker
    finally:
        stage.close()


@pytest.fixture
def env(tree: Worker) -> dict[str, str]:
    return dict(tree.environ)


def children(tree: Worker) -> list[int]:
    return [int(word) for word in tree.said.split()[:-1]]


def rows(env: dict[str, str], *words: str) -> list[dict[str, Any]]:
    """List until all are heard and measured in time: `ps` waits for nobody long."""

    def listed() -> list[dict[str, Any]]:
        found = json.loads(liveheap("ps", *words, "--json", env=env).stdout)
        late = [row for row in found if row["state"] == "silent" or row["uss"] is None]
        return [] if late else found

    return eventually(listed, what="all of them are heard and measured")


@pytest.fixture
def stopped(tree: Worker) -> Iterator[int]:
    """One of the children, stopped by a signal."""
    pid = children(tree)[1]
    stop(pid)
    yield pid
    os.kill(pid, signal.SIGCONT)


def test_a_tree_is_listed_with_what_each_has_to_itself(
    tree: Worker, env: dict[str, str]
) -> None:
    master, first, second = rows(env)

    assert [master["pid"], first["pid"], second["pid"]] == [tree.pid, *children(tree)]
    assert [each["parent"] for each in (master, first, second)] == [
        *(None, tree.pid, tree.pid)
    ]
    assert [each["depth"] for each in (master, first, second)] == [0, 1, 1]
    for each in (master, first, second):
        assert each["state"] == "answers"
        assert 0 < each["uss"] < each["rss"]
    assert first["shared"] > 1 << 20


def test_a_bridge_lists_the_same(tree: Worker, env: dict[str, str]) -> None:
    bridge = f"{sys.executable} -m liveheap_client bridge --list"

    here, far = rows(env), rows(env, "--via", bridge)

    same = ("pid", "parent", "depth", "program", "state", "start_time")
    assert [{name: row[name] for name in same} for row in far] == [
        {name: row[name] for name in same} for row in here
    ]


def test_one_that_is_stopped_is_told_and_holds_up_nobody(
    stopped: int, env: dict[str, str]
) -> None:
    began = time.monotonic()
    states = {row["pid"]: row["state"] for row in rows(env)}

    assert states.pop(stopped) == "stopped"
    assert set(states.values()) == {"answers"}
    assert time.monotonic() - began < 30


def test_watched_in_a_pipe_it_prints_blocks_until_the_reader_leaves(
    tree: Worker, env: dict[str, str]
) -> None:
    with starting("ps", "--watch", "0.1", env=env) as process:
        assert process.stdout is not None
        blocks = []
        while len(blocks) < 3:
            lines = list(iter(process.stdout.readline, "\n"))
            blocks.append(lines)
        process.stdout.close()
        process.wait(60)

    for headline, titles, *workers in blocks:
        assert "3 workers" in headline
        assert titles.split()[:2] == ["pid", "program"]
        assert [int(line.split()[0]) for line in workers] == [
            *(tree.pid, *children(tree))
        ]


def test_watched_as_json_it_prints_a_list_a_line_and_ctrl_c_is_no_error(
    tree: Worker, env: dict[str, str]
) -> None:
    with starting("ps", "--watch", "0.1", "--json", env=env) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert [len(look) for look in looks] == [3, 3, 3]
    assert process.returncode == 0
    assert not said


def test_watched_on_a_terminal_it_draws_in_place(
    tree: Worker, env: dict[str, str]
) -> None:
    with on_a_screen("ps", "--watch", "0.1", env=env) as screen:
        screen.wait_for("\x1b[H")
        first = screen.wait_for("\x1b[J")
        second = screen.wait_for("\x1b[J")
        screen.type("\x03")
        code = screen.end()

    for drawn in (first, second):
        assert "├─ " in drawn
        assert "└─ " in drawn
        assert "Ctrl-C ends" in drawn
    assert code == 0
    assert screen.seen.endswith("\x1b[?25h")
    assert "interrupted" not in screen.seen


def test_sessions_that_stay_open_leave_few_lines_in_the_audit_log(
    tree: Worker, env: dict[str, str]
) -> None:
    log = tree.run_dir / "audit.log"
    before = log.stat().st_size if log.exists() else 0

    with starting("ps", "--watch", "0.05", "--json", env=env) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    again = eventually(lambda: repeated(log, before), what="the sessions have ended")
    assert again >= 2 * 20
    assert log.read_bytes()[before:].count(b'"what": "tasks"') < 20


def repeated(log: Path, offset: int) -> int:
    """Return how often was asked again, when all three sessions have ended."""
    told = [json.loads(line) for line in log.read_bytes()[offset:].splitlines()]
    found = [line["repeated"]["tasks"] for line in told if "repeated" in line]
    return sum(found) if len(found) >= 3 else 0
