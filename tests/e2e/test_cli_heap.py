"""The verbs that read a heap, on a real worker: snapshot, diff, backrefs, histogram."""

import json
import os
import signal
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker, stop
from terminal import on_a_screen

USAGE, CANNOT_CONNECT, SAID_NO, INTERRUPTED = 2, 3, 5, 130


@pytest.fixture
def env(worker: Worker, env: dict[str, str]) -> dict[str, str]:
    return {**env, "LIVEHEAP_TARGET": str(worker.pid)}


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_snapshot_is_named_after_the_process_and_says_what_it_cost(
    worker: Worker, env: dict[str, str], in_tmp: Path
) -> None:
    done = liveheap("snapshot", env=env)

    (path,) = in_tmp.glob("*.liveheap")
    assert done.stdout == f"{path.name}\n"
    assert path.name.startswith(f"{worker.pid}-")
    assert "the worker stopped for" in done.stderr


def test_json_of_a_snapshot_is_its_frame(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.liveheap"
    answer = json.loads(liveheap("snapshot", "-o", path, "--json", env=env).stdout)

    assert answer["path"] == str(path)
    assert answer["header"]["scope"] == "graph"
    assert answer["trailer"]["complete"] is True
    assert answer["trailer"]["nodes"] > 1000


def test_a_snapshot_overwrites_nothing_unasked(
    env: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "x.liveheap"
    path.write_text("precious")

    done = liveheap("snapshot", "-o", path, env=env, expect=USAGE)
    assert "--force-overwrite" in done.stderr
    assert path.read_text() == "precious"

    liveheap("snapshot", "-o", path, "--force-overwrite", env=env)
    assert path.read_bytes().startswith(b"\x93LHSNAP\n")


def test_a_pipe_in_the_place_of_the_file_stays_a_pipe(
    env: dict[str, str], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    liveheap("snapshot", "-o", pipe, "--force-overwrite", env=env, expect=USAGE)

    assert pipe.is_fifo()


def test_a_kept_round_needs_a_directory(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = liveheap("diff", "--keep", tmp_path / "file", env=env, expect=1)

    assert "cannot keep files in" in done.stderr
    assert "hint: " in done.stderr


def test_a_place_that_is_no_directory_says_how_to_name_another(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = liveheap("snapshot", "-o", tmp_path / "no" / "x", env=env, expect=1)

    assert "hint: another place: -o FILE" in done.stderr


def test_a_pause_that_nobody_can_keep_is_refused_by_the_agent(
    env: dict[str, str], in_tmp: Path
) -> None:
    done = liveheap("snapshot", "--max-pause", "0", env=env, expect=SAID_NO)

    assert "hint: " in done.stderr
    assert list(in_tmp.iterdir()) == []


def test_histogram_counts_what_the_worker_made(env: dict[str, str]) -> None:
    rows = json.loads(liveheap("histogram", "-n", 5000, "--json", env=env).stdout)

    assert {row["type"]: row["count"] for row in rows}["__main__.Marker"] == 1000
    sizes = [row["bytes"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)


def test_types_have_one_name_live_and_from_a_file(
    env: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "x.liveheap"
    liveheap("snapshot", "-o", path, env=env)

    live = json.loads(liveheap("histogram", "-n", 5000, "--json", env=env).stdout)
    kept = json.loads(liveheap("histogram", path, "-n", 5000, "--json", env=env).stdout)

    names = [{row["type"] for row in rows} for rows in (live, kept)]
    assert {"dict", "str", "list"} <= names[0] & names[1]


def test_histogram_in_a_pipe_has_plain_numbers(env: dict[str, str]) -> None:
    lines = liveheap("histogram", "--limit", 3, env=env).stdout.splitlines()

    assert lines[0].split() == ["type", "count", "bytes"]
    assert len(lines) == 4
    assert all(line.split()[2].isdigit() for line in lines[1:])


def test_backrefs_of_a_live_worker_lead_to_the_module(env: dict[str, str]) -> None:
    shown = liveheap("backrefs", "Marker", env=env).stdout

    assert shown.startswith("__main__.Marker  x1,000") or "x1000" in shown
    assert ".MARKERS" in shown
    assert "module" in shown


def test_live_diff_shows_rounds_as_they_come_and_keeps_files(
    env: dict[str, str], in_tmp: Path
) -> None:
    shown = liveheap(
        "diff", "--interval", "0.2", "--rounds", 3, "--keep", "kept", env=env
    ).stdout

    rounds = [line for line in shown.splitlines() if line.startswith("round ")]
    assert [line.split()[1] for line in rounds] == ["1/3", "2/3", "3/3"]
    assert all("pause" in line for line in rounds)
    kept = sorted(path.name for path in (in_tmp / "kept").iterdir())
    assert kept == [f"round-00{number}.liveheap" for number in (1, 2, 3)]
    liveheap("diff", "--interval", "1", "--keep", "kept", env=env, expect=USAGE)


def test_json_of_a_live_diff_is_all_there_is_on_stdout(env: dict[str, str]) -> None:
    done = liveheap("diff", "--interval", "0.2s", "--json", env=env)

    report = json.loads(done.stdout)
    assert len(report["rounds"]) == 2
    assert {"suspects", "types", "rss"} <= set(report)
    assert "round 2/2" in done.stderr


def test_the_shell_reads_its_newest_snapshot(env: dict[str, str], in_tmp: Path) -> None:
    lines = "snapshot -o a.liveheap\nbackrefs Marker\nhistogram a.liveheap --json\n"

    done = liveheap("attach", env=env, stdin=lines)

    assert "from a.liveheap" in done.stderr
    assert ".MARKERS" in done.stdout


def test_a_shell_asks_no_second_worker(env: dict[str, str]) -> None:
    done = liveheap("attach", env=env, stdin="diff 4711\n", expect=USAGE)

    assert "one worker" in done.stderr


def test_backrefs_on_a_terminal_says_what_its_snapshot_cost(
    env: dict[str, str],
) -> None:
    with on_a_screen("backrefs", "Marker", env=env) as screen:
        assert screen.end() == 0

    assert "the worker stopped for" in screen.seen


def test_ctrl_c_during_a_snapshot_leaves_no_file(
    env: dict[str, str], in_tmp: Path, worker: Worker
) -> None:
    stop(worker.pid)
    try:
        with on_a_screen("snapshot", worker.pid, "-o", "x", env=env) as screen:
            screen.wait_for("not answering")
            screen.type("\x03")
            assert screen.end() == INTERRUPTED
    finally:
        os.kill(worker.pid, signal.SIGCONT)

    assert list(in_tmp.iterdir()) == []


def test_ctrl_c_ends_a_hunt_and_leaves_nothing(
    worker: Worker, env: dict[str, str], in_tmp: Path
) -> None:
    env = {**env, "TMPDIR": str(in_tmp)}
    with on_a_screen("diff", "--interval", "10m", env=env) as screen:
        screen.wait_for("round 1/2")
        screen.wait_for("round 2 of 2")
        screen.type("\x03")
        assert screen.end() == INTERRUPTED

    assert "Traceback" not in screen.seen
    assert list(in_tmp.iterdir()) == []
    liveheap("status", worker.pid, env=env)


def test_ctrl_c_in_the_shell_cancels_and_the_shell_goes_on(
    worker: Worker, env: dict[str, str]
) -> None:
    with on_a_screen("attach", env=env) as screen:
        screen.wait_for(f"{worker.pid}>")
        screen.type("diff --interval 10m\r")
        screen.wait_for("round 2 of 2")
        screen.type("\x03")
        screen.wait_for("cancelled")
        screen.wait_for(f"{worker.pid}>")
        screen.type("status\r")
        screen.wait_for("instance")
        screen.wait_for(f"{worker.pid}>")
        screen.type("\x04")
        assert screen.end() == 0


def test_a_worker_that_ends_during_a_hunt_is_said(
    worker: Worker, env: dict[str, str]
) -> None:
    with on_a_screen("diff", "--interval", "1", env=env) as screen:
        screen.wait_for("round 1/2")
        worker.kill()
        assert screen.end() == CANNOT_CONNECT

    assert "liveheap: " in screen.seen
    assert "hint: " in screen.seen


def test_strings_of_a_worker_are_told_apart_by_hashes_alone(
    env: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "x.liveheap"
    liveheap("snapshot", "--texts", "-o", file, env=env)

    of_file = json.loads(liveheap("strings", file, "--json", env=env).stdout)
    live = json.loads(liveheap("strings", "--json", env=env).stdout)

    assert file.read_bytes()[8:10] == b"\2\0"
    for found in (of_file, live):
        assert found["texts"] > 1000
        assert found["wasted"] > 0
        assert all(row["copies"] > 1 and row["holders"] for row in found["duplicates"])
