"""`liveheap console`: code in, text out, exit codes, and a terminal."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap, of_its_own
from spawn import Stage, Worker
from terminal import on_a_screen

PROMPT_BEGINS, PROMPT_ENDS = "\x1b[?2004h", "\x1b[?2004l"
EMPTY_IT = "\x15"  # Ctrl-U: the line has been indented
REFUSED, USAGE = 4, 2
FAILED = 1


@pytest.fixture(scope="module")
def open_stage() -> object:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def worker(open_stage: Stage) -> Worker:
    """A worker that allows it."""
    worker = open_stage.spawn("plain", env={"LIVEHEAP_ALLOW": "exec"})
    worker.wait_for_socket()
    return worker


def test_code_of_the_command_line_runs_there_and_its_end_is_the_exit_code(
    worker: Worker, env: dict[str, str]
) -> None:
    code = "import os; os.getpid()\nprint('\\x1b[31mred\\ttab\\r')"
    done = liveheap("console", worker.pid, "-c", code, env=env)
    assert done.stdout == f"{worker.pid}\n\\x1b[31mred\ttab\\x0d\n"
    assert of_its_own(done.stderr) == ""
    done = liveheap("console", worker.pid, "-c", "1 / 0", env=env, expect=FAILED)
    assert done.stdout.endswith("ZeroDivisionError: division by zero\n")
    done = liveheap(
        "console", worker.pid, "-c", "'\x07'; exit(3)", "--json", env=env, expect=FAILED
    )
    told = json.loads(done.stdout)
    assert (told["output"], told["outcome"]) == ("'\\x07'\n", "exit")


def test_without_a_terminal_stdin_is_the_code_and_long_output_is_cut(
    worker: Worker, env: dict[str, str]
) -> None:
    code = "for n in range(3):\n    print(n)\n\nprint('x' * 100)"
    done = liveheap("console", worker.pid, "--max-output", 10, env=env, stdin=code)
    assert done.stdout == "0\n1\n2\nxxxx"
    assert "output cut after 10 bytes" in done.stderr


def test_long_code_is_taken_and_what_is_no_text_or_too_long_is_told(
    worker: Worker, env: dict[str, str]
) -> None:
    def run(code: str, expect: int) -> str:
        done = liveheap("console", worker.pid, env=env, stdin=code, expect=expect)
        return done.stdout + done.stderr

    assert run("x = 1\n" * 5000 + "x", 0) == "1\n"
    assert "are taken at once" in run("x = 1\n" * 20_000, USAGE)
    done = liveheap("console", worker.pid, "-c", "'\udcff'", env=env, expect=USAGE)
    assert "not text" in done.stderr


def test_a_worker_that_does_not_allow_it_says_exactly_what_would(
    spawn_worker: Callable[..., Worker],
) -> None:
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    done = liveheap(
        "console", worker.pid, "-c", "1", env=worker.environ, expect=REFUSED
    )
    assert "LIVEHEAP_ALLOW=exec" in done.stderr
    done = liveheap(
        "attach", worker.pid, env=worker.environ, stdin="console -c 1\n", expect=REFUSED
    )
    assert "LIVEHEAP_ALLOW=exec" in done.stderr


def test_the_shell_of_attach_opens_one_whose_names_go_with_it(
    worker: Worker, env: dict[str, str]
) -> None:
    lines = "console -c 'here = 5; here'\nconsole -c 'here'\n"
    done = liveheap("attach", worker.pid, env=env, stdin=lines, expect=FAILED)
    assert done.stdout.startswith("5\n")
    assert "NameError" in done.stdout


def test_a_console_on_a_terminal(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    with on_a_screen("console", worker.pid, env=env) as screen:
        banner = screen.wait_for(PROMPT_BEGINS)
        for word in ("LIVE worker", "scope exec", "manhole", "GIL", "%main"):
            assert word in banner

        def enter(keys: str) -> str:
            """Type a line; return what is seen until the next prompt."""
            screen.type(f"{keys}\r")
            screen.wait_for(PROMPT_ENDS)
            return screen.wait_for(PROMPT_BEGINS)

        enter("numbers = [1, 2]")
        screen.type("numb\t")
        screen.wait_for("ers")
        screen.type(".app\t")
        screen.wait_for("end")
        enter("(3)")
        enter("for n in numbers:")
        enter("print(n * 111)")
        assert "333" in enter(EMPTY_IT)
        enter("from itertools import count")
        enter("for n in count(): n or print('it', 'spins')")
        screen.type(f"{EMPTY_IT}\r")
        screen.wait_for("it spins")
        screen.type("\x03")
        assert "KeyboardInterrupt" in screen.wait_for(PROMPT_BEGINS)
        assert "21" in enter("numbers[-1] * 7")
        screen.type("\x04")
        assert screen.end() == 0
    history = tmp_path / "liveheap" / "console-history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700
    assert "numbers.append(3)" in history.read_text()
