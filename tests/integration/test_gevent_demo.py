"""`liveheap demo` as a user runs it, and its judge on answers that miss something."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import liveheap, starting
from spawn import eventually

from liveheap_client.demo.verdict import judge

LEAK = {"path": "__main__.CACHE.rows[*] -> __main__.Row", "type": "__main__.Row"}
WAITING = {
    "path": 'greenlet -> ask_partner() at worker.py:1 local "outgoing" -> list',
    "type": "list",
}
INNOCENT = {"path": "__main__.THUMBNAILS.entries[*]", "type": "__main__.Thumbnail"}
TREE = 'Attachment x20\n└─ local "outgoing"  ask_partner() at worker.py:1  x20\n'


def verdicts(*suspects: dict[str, str], tree: str = TREE) -> list[bool]:
    growth = "\n".join(suspect["path"] for suspect in suspects)
    report = json.dumps({"suspects": suspects})
    findings = judge(report=report, growth=growth, holders=tree)
    return [finding.found for finding in findings]


def test_judge_is_content_with_the_leak_first_and_the_greenlets_named() -> None:
    assert verdicts(LEAK, WAITING) == [True, True, True, True]


def test_leak_in_second_place_is_not_found() -> None:
    assert verdicts(WAITING, LEAK) == [False, True, True, True]


def test_no_suspect_at_all_is_nothing_found() -> None:
    assert verdicts(tree="") == [False, False, False, True]


def test_accused_bounded_cache_is_a_fault() -> None:
    assert verdicts(LEAK, WAITING, INNOCENT) == [True, True, True, False]


@pytest.fixture
def quiet_place(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files a test can count."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


def test_demo_finds_everything_and_leaves_nothing_behind(
    quiet_place: dict[str, str], tmp_path: Path
) -> None:
    done = liveheap("demo", env=quiet_place, expect=None)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "NOT FOUND" not in done.stdout
    assert "$ liveheap leaks" in done.stdout
    last = " ".join(done.stdout.rpartition("\nLeak: ")[2].split())
    assert last.startswith("__main__.CACHE.rows (dict) grew"), done.stdout[-1000:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name
)
def test_ended_demo_takes_its_worker_and_its_files_with_it(
    quiet_place: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    demo = starting("demo", env=quiet_place, start_new_session=True)
    assert demo.stdout is not None
    pid = next(line for line in demo.stdout if "as process" in line)
    worker = int(pid.split("process ")[1].split(".")[0])

    os.killpg(demo.pid, number)
    demo.communicate(timeout=60)

    assert demo.returncode == 130
    eventually(lambda: not Path(f"/proc/{worker}").exists(), what="the worker is gone")
    assert list(tmp_path.iterdir()) == []


def test_worker_of_a_killed_demo_ends_by_itself(quiet_place: dict[str, str]) -> None:
    demo = starting("demo", env=quiet_place, start_new_session=True)
    assert demo.stdout is not None
    pid = next(line for line in demo.stdout if "as process" in line)
    worker = int(pid.split("process ")[1].split(".")[0])

    demo.kill()
    demo.communicate(timeout=60)

    eventually(lambda: not Path(f"/proc/{worker}").exists(), what="the worker is gone")


def test_demo_without_gevent_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'gevent' else find(n, *a)\n"
        "from liveheap_client.demo import main; raise SystemExit(main([]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "liveheap[cli,gevent]" in done.stderr
