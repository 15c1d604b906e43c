"""`liveheap clone`: questions in, tables and pictures out, and a terminal."""

import json
from pathlib import Path

import pytest
from command_line import liveheap, of_its_own
from spawn import Stage, Worker
from terminal import on_a_screen

REFUSED, FAILED, USAGE = 4, 1, 2
PROMPT_BEGINS, PROMPT_ENDS = "\x1b[?2004h", "\x1b[?2004l"


@pytest.fixture(scope="module")
def open_stage() -> object:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def worker(open_stage: Stage) -> Worker:
    """A worker whose owner allows values, and nothing above them."""
    worker = open_stage.spawn("plain", env={"LIVEHEAP_ALLOW": "values"})
    worker.wait_for_socket()
    return worker


def test_a_question_of_the_command_line_is_answered(
    worker: Worker, env: dict[str, str]
) -> None:
    done = liveheap("clone", worker.pid, "-c", "1 + 1\nobjgraph.count('dict')", env=env)
    two, many = done.stdout.split()
    assert two == "2"
    assert int(many) > 100
    assert of_its_own(done.stderr) == ""
    done = liveheap("clone", worker.pid, env=env, stdin="'piped'\n")
    assert done.stdout == "'piped'\n"
    done = liveheap("clone", worker.pid, "-c", "import os", env=env, expect=FAILED)
    assert done.stdout.startswith("not here: import")


def test_a_picture_is_drawn_where_the_client_is(
    worker: Worker, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "objgraph.show_backrefs(objgraph.by_type('module')[:1])"
    done = liveheap("clone", worker.pid, "-c", code, "--json", env=env)
    drawn = json.loads(done.stdout)["pictures"]
    assert drawn == [f"{worker.pid}-1.dot", f"{worker.pid}-1.svg"]
    assert (tmp_path / drawn[0]).read_text().startswith("digraph")
    assert (tmp_path / drawn[1]).read_text().startswith("<svg")
    page = tmp_path / "page.html"
    liveheap("clone", worker.pid, "-c", code, "--html", page, env=env)
    assert "<svg" in page.read_text()
    again = liveheap("clone", worker.pid, "-c", code, "--html", page, env=env, expect=2)
    assert "exists already" in again.stderr


def test_what_the_worker_does_not_allow_is_refused_with_the_way(
    worker: Worker, env: dict[str, str]
) -> None:
    done = liveheap("clone", worker.pid, "--python", env=env, expect=REFUSED)
    assert "LIVEHEAP_ALLOW=exec" in done.stderr
    done = liveheap("clone", worker.pid, "--svg", "x.svg", env=env, expect=USAGE)
    assert "-c" in done.stderr


def test_the_shell_has_a_banner_completion_and_a_way_out(
    worker: Worker, env: dict[str, str]
) -> None:
    with on_a_screen("attach", worker.pid, env=env) as screen:
        screen.wait_for(PROMPT_BEGINS)
        screen.type("clone\r")
        screen.wait_for(PROMPT_ENDS)
        banner = screen.wait_for(PROMPT_BEGINS)
        assert "frozen copy of worker" in banner
        assert "scope values" in banner

        def enter(keys: str) -> str:
            """Type a line; return what is seen until the next prompt."""
            screen.type(f"{keys}\r")
            screen.wait_for(PROMPT_ENDS)
            return screen.wait_for(PROMPT_BEGINS)

        screen.type("objgraph.cou\t")
        screen.wait_for("nt")
        assert "3" in enter("('nobody') + 3")
        assert "not here" in enter("open('x')")
        enter("exit()")
        screen.wait_for(f"liveheap {worker.pid}>")
        screen.type("\x04")
        screen.wait_for(PROMPT_ENDS)
