"""The command line against a real worker: in pipes, and on a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import MODULE, liveheap
from spawn import Worker, eventually, stop
from terminal import FAKE_SSH, on_a_screen, without

from liveheap_client import patience

CANNOT_CONNECT, REFUSED, INTERRUPTED = 3, 4, 130
PROMPT_ENDS = "\x1b[?2004l"


def through_ssh(env: dict[str, str], mode: str) -> dict[str, str]:
    liveheap_here = f"{sys.executable} -m liveheap_client"
    return {
        **env,
        "LIVEHEAP_SSH": f"{sys.executable} {FAKE_SSH} {mode}",
        "REMOTE": liveheap_here,
    }


def test_ps_shows_the_worker(worker: Worker, env: dict[str, str]) -> None:
    (entry,) = json.loads(liveheap("ps", "--json", env=env).stdout)
    table = liveheap("ps", env=env).stdout.splitlines()

    assert entry["pid"] == worker.pid
    assert entry["rss"] > 1 << 20
    assert entry["uptime"] >= 0
    assert "plain.py" in entry["program"]
    assert table[0].split()[:2] == ["pid", "program"]
    assert table[1].split()[0] == str(worker.pid)


def test_the_only_worker_needs_no_target(worker: Worker, env: dict[str, str]) -> None:
    assert json.loads(liveheap("status", "--json", env=env).stdout)["pid"] == worker.pid


def test_a_worker_of_this_machine_is_named_without_ssh(
    worker: Worker, env: dict[str, str]
) -> None:
    (listed,) = json.loads(liveheap("ps", "localhost", "--json", env=env).stdout)
    name = listed["name"] or listed["program"]

    for target in ("localhost", f"localhost/{worker.pid}", f"localhost/{name}"):
        done = liveheap("status", target, "--json", env=env)
        assert json.loads(done.stdout)["pid"] == worker.pid

    refusing = {**env, "LIVEHEAP_SSH": f"{sys.executable} {FAKE_SSH} refused"}
    done = liveheap("status", name, env=refusing, expect=CANNOT_CONNECT)
    assert f"hint: the worker here of that name is localhost/{name}" in done.stderr


def test_the_environment_names_the_target(worker: Worker, env: dict[str, str]) -> None:
    done = liveheap(
        "status", env={**env, "LIVEHEAP_TARGET": "999999"}, expect=CANNOT_CONNECT
    )

    assert "999999" in done.stderr


def test_several_workers_are_listed_to_choose_from(
    worker: Worker, env: dict[str, str], spawn_worker: Callable[..., Worker]
) -> None:
    other = spawn_worker("plain", env={"LIVEHEAP_DIR": str(worker.run_dir)})
    done = liveheap("status", env=env, expect=2)

    assert str(worker.pid) in done.stderr
    assert str(other.pid) in done.stderr
    assert "hint: " in done.stderr


def test_a_socket_s_path_is_a_target(worker: Worker, env: dict[str, str]) -> None:
    path = worker.wait_for_socket()

    answer = liveheap("status", f"unix:{path}", "--json", env=env).stdout

    assert json.loads(answer)["pid"] == worker.pid


def test_gc_says_what_it_did(env: dict[str, str]) -> None:
    answer = json.loads(liveheap("gc", "--json", env=env).stdout)

    assert set(answer) == {"via", "collected", "uncollectable", "seconds"}


def test_a_wrong_token_is_refused_and_not_printed(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"SECRET--" * 4)

    done = liveheap(
        *("status", worker.pid),
        env={**env, "LIVEHEAP_TOKEN_FILE": str(secret)},
        expect=REFUSED,
    )

    assert "SECRET" not in done.stdout + done.stderr


def test_via_talks_over_the_stdio_of_any_command(
    worker: Worker, env: dict[str, str]
) -> None:
    command = f"{sys.executable} -m liveheap_client bridge --pid {worker.pid}"

    answer = liveheap("status", "--via", command, "--json", env=env).stdout

    assert json.loads(answer)["pid"] == worker.pid


def test_via_gets_the_scope_and_the_list_that_a_verb_needs(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    bridge = f"{sys.executable} -m liveheap_client bridge"
    file = tmp_path / "x.liveheap"

    liveheap("snapshot", "-o", file, "--via", f"{bridge} --pid {worker.pid}", env=env)
    listed = liveheap("ps", "--json", "--via", bridge, env=env).stdout

    assert file.stat().st_size > 1000
    assert [entry["pid"] for entry in json.loads(listed)] == [worker.pid]


def test_via_a_shell_is_told_which_words_its_bridge_lacks(
    worker: Worker, env: dict[str, str]
) -> None:
    own = f"exec {sys.executable} -m liveheap_client bridge --pid {worker.pid}"

    done = liveheap("snapshot", "--via", f'sh -c "{own}"', env=env, expect=REFUSED)

    assert "hint: let CMD end in: liveheap bridge --scope graph" in done.stderr


def test_several_workers_behind_a_bridge_come_with_the_right_hint(
    worker: Worker, env: dict[str, str], spawn_worker: Callable[..., Worker]
) -> None:
    spawn_worker("plain", env={"LIVEHEAP_DIR": str(worker.run_dir)})
    bridge = f"{sys.executable} -m liveheap_client bridge"
    far = {**through_ssh(env, "run")}
    remote = ("--remote-command", far["REMOTE"])

    via = liveheap("status", "--via", bridge, env=env, expect=2)
    ssh = liveheap("status", "box", *remote, env=far, expect=2)
    name = liveheap("status", "box/nobody", *remote, env=far, expect=CANNOT_CONNECT)

    assert "liveheap bridge --pid PID" in via.stderr
    assert "hint: name one of them as the target: box/PID" in ssh.stderr
    assert "hint: liveheap ps box" in name.stderr


@pytest.mark.parametrize("mode", ["run", "noise"])
def test_a_host_is_reached_through_ssh_and_noise_is_skipped(
    mode: str, worker: Worker, env: dict[str, str]
) -> None:
    env = through_ssh(env, mode)

    for words in (["status", "box"], ["status", f"box/{worker.pid}"]):
        answer = liveheap(
            *words, "--json", "--remote-command", env["REMOTE"], env=env
        ).stdout
        assert json.loads(answer)["pid"] == worker.pid


def test_ps_of_a_host_asks_its_bridge(worker: Worker, env: dict[str, str]) -> None:
    env = through_ssh(env, "run")

    listed = liveheap(
        "ps", "box", "--json", "--remote-command", env["REMOTE"], env=env
    ).stdout

    assert [entry["pid"] for entry in json.loads(listed)] == [worker.pid]


def test_what_the_bridge_cannot_find_is_told_with_the_host_s_name(
    env: dict[str, str],
) -> None:
    env = through_ssh(env, "run")

    done = liveheap(
        *("status", "box/999999", "--remote-command", env["REMOTE"]),
        env=env,
        expect=CANNOT_CONNECT,
    )

    assert "box/999999: no process 999999" in done.stderr


def test_a_link_that_drops_is_said_in_ssh_s_words(env: dict[str, str]) -> None:
    env = through_ssh(env, "drop")

    done = liveheap(
        *("status", "box", "--remote-command", env["REMOTE"]),
        env=env,
        expect=CANNOT_CONNECT,
    )

    assert "Broken pipe" in done.stderr


def test_a_worker_stopped_by_a_signal_is_told_and_not_waited_for_forever(
    worker: Worker, env: dict[str, str]
) -> None:
    stop(worker.pid)
    try:
        done = liveheap(
            "status", worker.pid, "--timeout", "0.5", env=env, expect=CANNOT_CONNECT
        )
    finally:
        os.kill(worker.pid, signal.SIGCONT)

    assert "is stopped" in done.stderr
    assert f"hint: let it go on: kill -CONT {worker.pid}" in done.stderr
    liveheap("status", worker.pid, env=env)


def test_a_worker_that_died_and_was_not_reaped_is_said_to_have_ended(
    worker: Worker, env: dict[str, str]
) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: patience.state(worker.pid) == "Z", what="it is a zombie")

    done = liveheap("status", worker.pid, env=env, expect=CANNOT_CONNECT)

    assert f"process {worker.pid} has ended" in done.stderr
    assert json.loads(liveheap("ps", "--json", env=env).stdout) == []


def test_the_shell_takes_lines_from_a_pipe(worker: Worker, env: dict[str, str]) -> None:
    lines = "status --json\n\n# a comment\nhelp\nexit now\nnever\n"

    done = liveheap("attach", worker.pid, env=env, stdin=lines)

    status, _, help_text = done.stdout.partition("\n}\n")
    assert json.loads(status + "}")["pid"] == worker.pid
    assert "histogram" in help_text
    assert f"worker {worker.pid}" in done.stderr


def test_a_failing_line_does_not_stop_the_next_and_is_the_exit_code(
    worker: Worker, env: dict[str, str]
) -> None:
    lines = "nonsense\nhistog\nstatus --nonsense\n'unclosed\nstatus\n"

    done = liveheap("attach", worker.pid, env=env, stdin=lines, expect=2)

    assert "hint: did you mean histogram?" in done.stderr
    assert str(worker.pid) in done.stdout
    assert done.stderr.count("hint:") >= 2


def test_the_shell_on_a_terminal(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    with on_a_screen("attach", worker.pid, env=env) as screen:
        assert "RSS" in screen.wait_for(f"liveheap {worker.pid}>")
        screen.type("stat\t")
        screen.wait_for("us")
        screen.type("\r")
        shown = screen.wait_for("instance")
        assert "MiB" in shown
        screen.wait_for(">")
        screen.type("nonsense\r")
        screen.wait_for("no verb 'nonsense'")
        screen.wait_for(f"{worker.pid}>")
        screen.type("abandoned\x03")
        screen.wait_for(PROMPT_ENDS)
        screen.wait_for(f"{worker.pid}>")
        screen.type("\x04")
        assert screen.end() == 0

    history = tmp_path / "liveheap" / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "status" in history.read_text()


def test_a_terminal_gets_human_units_and_a_bold_title(
    worker: Worker, env: dict[str, str]
) -> None:
    env.pop("NO_COLOR", None)
    with on_a_screen("ps", env=env) as screen:
        assert screen.end() == 0

    assert "MiB" in screen.seen
    assert "\x1b[1m" in screen.seen
    plain = re.sub("\x1b\\[[0-9;]*m", "", screen.seen)
    assert max(map(len, plain.splitlines())) <= 80


def test_no_color_is_honoured(worker: Worker, env: dict[str, str]) -> None:
    with on_a_screen("ps", env={**env, "NO_COLOR": "1"}) as screen:
        assert screen.end() == 0

    assert "\x1b[" not in screen.seen


def test_ctrl_c_while_a_worker_is_silent_ends_at_once_with_130(
    worker: Worker, env: dict[str, str]
) -> None:
    stop(worker.pid)
    try:
        with on_a_screen("status", worker.pid, env=env) as screen:
            screen.wait_for("not answering")
            screen.type("\x03")
            assert screen.end() == INTERRUPTED
    finally:
        os.kill(worker.pid, signal.SIGCONT)

    assert "Traceback" not in screen.seen


def test_a_bare_server_s_bridge_serves_a_whole_session(
    worker: Worker, env: dict[str, str]
) -> None:
    bare = without("click", "rich", "prompt_toolkit", "numpy")
    launcher = Path(env["HOME"], "bare")
    launcher.write_text(f'#!/bin/sh\nexec {bare[0]} -c "{bare[2]}" "$@"\n')
    launcher.chmod(0o700)

    answer = liveheap(
        "status", "--via", f"{launcher} bridge --scope graph", "--json", env=env
    ).stdout

    assert json.loads(answer)["pid"] == worker.pid


def test_run_starts_an_agent_in_a_program_that_knows_nothing_of_it(
    env: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "innocent.py"
    program.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    process = subprocess.Popen(
        [*MODULE, "run", "--name", "billing", "--", sys.executable, str(program)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        answer = json.loads(liveheap("status", process.pid, "--json", env=env).stdout)
    finally:
        process.communicate()

    assert answer["pid"] == process.pid
    assert answer["name"] == "billing"


def test_a_place_completes_to_workers_snapshots_and_else_the_shell_s_files(
    worker: Worker, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.liveheap").touch()

    def completed(typed: str) -> list[str]:
        words = {
            "_LIVEHEAP_COMPLETE": "bash_complete",
            "COMP_WORDS": f"liveheap diff {typed}",
            "COMP_CWORD": "2",
        }
        return liveheap(env={**env, **words}).stdout.split()

    assert completed("") == [f"plain,{worker.pid}", "plain,kept.liveheap"]
    assert completed("ke") == ["plain,kept.liveheap"]
    assert completed("other/") == ["file,other/"]
