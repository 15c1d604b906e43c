"""Where words go when a stream is odd: full, closed, gone, ascii; and SIGTERM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import MODULE, liveheap, of_its_own
from spawn import Worker

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from stream_builder import GraphBuilder, write_snapshot

FAILED, BROKEN_PIPE, TERMINATED = 1, 141, 143
ENV = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    builder = GraphBuilder()
    leaky = builder.type("app", "Leaky", ["payload"])
    items = [builder.instance(leaky, [builder.leaf()]) for _ in range(3)]
    builder.module("app", {"ROWS": builder.list(items)})
    return write_snapshot(tmp_path / "x.liveheap", builder)


def shell(line: str, *words: object, env: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a line of bash in which "$@" is a command of ours."""
    return subprocess.Popen(
        ["bash", "-c", line, "bash", *MODULE, *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(line: str, *words: object, env: dict[str, str] = ENV) -> tuple[int, str, str]:
    process = shell(line, *words, env=env)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize("options", [(), ("--json",), ("--dot",)])
def test_a_reader_that_leaves_ends_the_verb_silently(
    options: tuple[str, ...], file: Path
) -> None:
    line = 'set -o pipefail; "$@" | :'

    code, _, err = done(line, "backrefs", "Leaky", file, *options)

    assert (code, err) == (BROKEN_PIPE, "")


@pytest.mark.parametrize("words", [("backrefs", "Leaky"), ("histogram", "--json")])
def test_a_full_stdout_is_said_in_one_line(words: tuple[str, ...], file: Path) -> None:
    code, _, err = done('"$@" > /dev/full', *words, file)

    assert code == FAILED
    assert err == "liveheap: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed: str, file: Path) -> None:
    assert done(f'"$@" {closed}', "histogram", file)[0] == 0
    assert done(f'"$@" {closed}', "status", "a b")[0] == 2


def test_a_socket_never_lands_on_a_closed_stdout(worker: Worker) -> None:
    code, _, err = done('"$@" >&-', "status", worker.pid, env=worker.environ)

    assert (code, of_its_own(err)) == (0, "")


def test_a_tree_is_drawn_with_what_the_locale_has(file: Path) -> None:
    env = {**ENV, "PYTHONIOENCODING": "ascii"}

    shown = liveheap("backrefs", "Leaky", file, env=env).stdout

    assert "`- [*]  list" in shown
    assert shown.isascii()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_killed_hunt_leaves_no_snapshot_behind(
    number: signal.Signals, worker: Worker, tmp_path: Path
) -> None:
    env = {**worker.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = shell('exec "$@"', "diff", "--interval", "10m", worker.pid, env=env)
    assert process.stdout
    assert process.stdout.readline().startswith("round 1/2")

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, of_its_own(err)) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_that_nohup_ignores_stays_ignored(worker: Worker) -> None:
    line = 'trap "" HUP; exec "$@"'
    words = ("diff", "--interval", "1", worker.pid)
    process = shell(line, *words, env={**worker.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout
    assert process.stdout.readline().startswith("round 1/2")

    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "round 2/2" in out


def test_a_fault_of_ours_is_one_line_with_a_hint(tmp_path: Path) -> None:
    code = (
        "import sys; from liveheap_client import cli, __main__; "
        "cli.run = lambda words: 1 / 0; sys.exit(__main__.main(['status']))"
    )
    command = [sys.executable, "-c", code]

    told = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)
    debug = {**ENV, "LIVEHEAP_DEBUG": "1"}
    shown = subprocess.run(
        command, env=debug, capture_output=True, text=True, check=False
    )

    assert told.returncode == FAILED
    first, second = told.stderr.splitlines()
    assert first.startswith("liveheap: a fault of liveheap's own: ZeroDivisionError")
    assert second.startswith("hint: LIVEHEAP_DEBUG=1")
    assert "Traceback" in shown.stderr
