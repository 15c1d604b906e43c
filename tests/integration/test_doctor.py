"""The doctor on made situations: what is in the way is named, and left as it is."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import DEADLINE_S, MODULE, liveheap
from spawn import Stage, Worker, eventually, state_of, stop

from liveheap import registry

HINDERED = 1
NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FILTERED = """
import ctypes, os, struct, sys
NR_PTRACE, ERRNO_EPERM = 101, 0x00050001
filters = ((0x20, 0, 0, 0), (0x15, 0, 1, NR_PTRACE), (6, 0, 0, ERRNO_EPERM),
           (6, 0, 0, 0x7FFF0000))
program = b"".join(struct.pack("<HBBI", *each) for each in filters)
code = ctypes.create_string_buffer(program)
head = struct.pack("<HxxxxxxQ", len(filters), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, head, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
BARE = """
import os, sys
os.write(int(os.environ["READY_FD"]), b"ready\\n")
sys.stdin.read()
"""
AS_NOBODY = (
    "import encodings.ascii, os, sys\n"
    "from liveheap_client import bare\n"
    "from liveheap_client.__main__ import main\n"
    "from liveheap_client.doctor import command\n"
    f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    return worker


@pytest.fixture
def bare_worker(stage: Stage) -> Worker:
    """A Python process that has no agent."""
    return stage.spawn_command([sys.executable, "-c", BARE])


def examined(
    *words: object, env: dict[str, str], expect: int, attempts: int = 5
) -> dict[str, Any]:
    """Run it; return its answer.

    Once more where a worker of a busy machine has not answered in its two seconds.
    """
    for _ in range(attempts):
        done = liveheap("doctor", *words, "--json", env=env, expect=None)
        if "it has not answered within" not in done.stdout:
            break
    assert done.returncode == expect, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def doctor(
    *words: object, env: dict[str, str], expect: int = HINDERED, attempts: int = 5
) -> list[str]:
    """Run it; return its findings as `state check: sentence`."""
    return told(examined(*words, env=env, expect=expect, attempts=attempts))


def told(answer: dict[str, Any]) -> list[str]:
    for finding in answer["findings"]:
        assert finding["hint"] or finding["state"] != "problem", finding
    return [
        f"{each['state']} {each['check']}: {each['said']}"
        for each in answer["findings"]
    ]


def problems(found: list[str]) -> list[str]:
    return [
        each.removeprefix("problem ") for each in found if each.startswith("problem")
    ]


def answers(found: list[str]) -> bool:
    """Whether an agent was heard; where the machine is busy, with a note: slowly."""
    return any("agent: it answers" in each for each in found)


def test_nothing_hinders_a_worker_with_an_agent(worker: Worker) -> None:
    found = doctor(worker.pid, env=worker.environ, expect=0)

    for check in ("process", "token", "memory", "pause", "spool", "limits"):
        assert any(each.startswith(f"ok {check}:") for each in found), check
    assert answers(found)
    assert not problems(found)


def test_this_machine_is_looked_at_when_nobody_is_named(worker: Worker) -> None:
    found = doctor(env=worker.environ, expect=0)
    assert "ok workers: 1 of 1 workers answer" in found


def test_the_text_says_what_to_type(worker: Worker) -> None:
    stop(worker.pid)
    done = liveheap("doctor", worker.pid, env=worker.environ, expect=HINDERED)
    os.kill(worker.pid, signal.SIGCONT)

    assert "PROBLEM  process" in done.stdout
    assert f"try: kill -CONT {worker.pid}" in done.stdout
    assert done.stdout.endswith("1 problem\n")


def test_a_stopped_worker_is_named_and_stays_stopped(worker: Worker) -> None:
    stop(worker.pid)

    assert problems(doctor(worker.pid, env=worker.environ)) == [
        "process: it is stopped (SIGSTOP), and answers nobody until it is let go on"
    ]
    assert f"are stopped: {worker.pid}" in problems(doctor(env=worker.environ))[0]
    assert state_of(worker.pid) == "T"
    os.kill(worker.pid, signal.SIGCONT)


def test_a_directory_that_others_can_enter_is_named(worker: Worker) -> None:
    worker.run_dir.chmod(0o755)

    (agent, directory, *_) = problems(doctor(worker.pid, env=worker.environ))

    assert "liveheap is loaded in it, but no agent listens" in agent
    assert f"{worker.run_dir} has mode 0755" in directory
    assert stat.S_IMODE(worker.run_dir.stat().st_mode) == 0o755


@NEEDS_ROOT
def test_a_directory_that_somebody_else_has_taken_is_named(worker: Worker) -> None:
    os.chown(worker.run_dir, NOBODY, -1)
    found = problems(doctor(worker.pid, env=worker.environ))
    os.chown(worker.run_dir, 0, -1)
    assert any(f"belongs to uid {NOBODY}, not to 0" in each for each in found)


def test_another_directory_than_the_worker_s_is_named(
    worker: Worker, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    found = doctor(worker.pid, env={**worker.environ, "LIVEHEAP_DIR": str(tmp_path)})
    assert any(
        f"you look into LIVEHEAP_DIR={tmp_path} alone" in each
        for each in problems(found)
    )


def test_a_token_that_is_another_is_told_from_an_unfit_one(
    worker: Worker, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_bytes(os.urandom(32))
    token.chmod(0o600)
    environ = {**worker.environ, "LIVEHEAP_TOKEN_FILE": str(token)}

    another = problems(doctor(worker.pid, env=environ))
    token.chmod(0o644)
    unfit = problems(doctor(worker.pid, env=environ))

    assert "agent: it lets nobody in (not-genuine)" in another[0]
    assert "you hold a token, and the worker another" in another[1]
    assert any("has mode 0644; others can use it" in each for each in unfit)
    gone = problems(doctor(worker.pid, env={**environ, "LIVEHEAP_TOKEN_FILE": "/gone"}))
    assert any("/gone: no such file" in each for each in gone)
    assert token.read_bytes().hex() not in "".join(another + unfit)


def test_a_worker_that_is_switched_off_is_told_so(
    spawn_worker: Callable[..., Worker],
) -> None:
    off = spawn_worker("plain", agent=False)
    found = doctor(off.pid, env={**off.environ, "LIVEHEAP": ""})
    assert any("LIVEHEAP=0 in its environment" in each for each in problems(found))


def test_a_setting_that_cannot_be_read_is_named(
    spawn_worker: Callable[..., Worker],
) -> None:
    worker = spawn_worker("plain", env={"LIVEHEAP_MAX_PAUSE": "a while"})
    worker.wait_for_socket()
    (only,) = problems(doctor(worker.pid, env=worker.environ))
    assert "LIVEHEAP_MAX_PAUSE='a while'" in only


# What is no worker: a message, and no hang.


def test_what_has_ended_was_never_there_or_is_no_python_is_named(
    worker: Worker,
) -> None:
    environ = worker.environ
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        (no_python,) = problems(doctor(cat.pid, env=environ))
        cat.kill()
        eventually(lambda: state_of(cat.pid) == "Z", what="it is a zombie")
        (zombie,) = problems(doctor(cat.pid, env=environ))
    (gone,) = problems(doctor(cat.pid, env=environ))

    assert "(cat) is no CPython process" in no_python
    assert (
        f"process {cat.pid} has ended (a zombie); its parent, {os.getpid()}" in zombie
    )
    assert gone == f"process: there is no process {cat.pid} here"


def test_a_thread_s_number_leads_to_its_process(
    spawn_worker: Callable[..., Worker],
) -> None:
    worker = spawn_worker("threads")
    threads = {int(name) for name in os.listdir(f"/proc/{worker.pid}/task")}
    tid = (threads - {worker.pid}).pop()

    (only,) = problems(doctor(tid, env=worker.environ))

    assert only == f"process: {tid} is a thread of process {worker.pid}"


def test_process_one_is_looked_at_as_any_other(worker: Worker) -> None:
    done = liveheap("doctor", 1, "--json", env=worker.environ, expect=HINDERED)
    assert json.loads(done.stdout)["findings"][0]["said"].startswith("process 1 (")


def test_attach_to_what_is_no_worker_is_refused_in_words(
    worker: Worker,
) -> None:
    with subprocess.Popen(["sleep", "600"]) as sleep:
        sleep.kill()
        eventually(lambda: state_of(sleep.pid) == "Z", what="it is a zombie")
        zombie = refused_to_attach(sleep.pid, worker)
    stop(worker.pid)
    stopped = refused_to_attach(worker.pid, worker)
    os.kill(worker.pid, signal.SIGCONT)

    assert "has ended (a zombie)" in zombie
    assert f"no process {sleep.pid} here" in refused_to_attach(sleep.pid, worker)
    assert f"let it go on: kill -CONT {worker.pid}" in stopped
    assert "process 1" in refused_to_attach(1, worker)


def refused_to_attach(pid: int, worker: Worker) -> str:
    done = liveheap("attach", pid, "--timeout", "1", env=worker.environ, expect=None)
    assert done.returncode in (2, 3), done.stderr
    assert "hint: " in done.stderr
    return done.stderr


@pytest.mark.parametrize("word", ["0", "4711;id", "99999999999"])
def test_what_can_be_no_process_is_a_usage_error(word: str) -> None:
    liveheap("doctor", word, env=os.environ, expect=2)


# Sockets.


@pytest.fixture
def named_socket(
    bare_worker: Worker,
) -> Iterator[tuple[int, dict[str, str], socket.socket]]:
    """A socket under the name of a process's agent, which is not its agent's."""
    pid = bare_worker.pid
    run_dir = bare_worker.run_dir
    (run_dir / "token").write_bytes(os.urandom(32))
    (run_dir / "token").chmod(0o600)
    path = run_dir / f"{pid}-{registry.start_time(pid)}.sock"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(path))
        path.chmod(0o600)
        yield pid, bare_worker.environ, ours


def test_a_socket_that_nobody_listens_at_is_named(named_socket: Any) -> None:
    pid, environ, _ours = named_socket
    found = problems(doctor(pid, env=environ))
    assert any("nobody listens at worker" in each for each in found)


def test_an_agent_that_does_not_answer_is_seen_from_outside(named_socket: Any) -> None:
    pid, environ, ours = named_socket
    ours.listen()
    (silent, *_) = problems(doctor(pid, env=environ, attempts=1))
    assert "it has not answered within 2 s" in silent
    assert "from outside: RSS" in silent


def test_a_queue_that_is_full_is_no_reason_to_wait_for_ever(named_socket: Any) -> None:
    pid, environ, ours = named_socket
    ours.listen(0)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(ours.getsockname())
        (silent, *_) = problems(doctor(pid, env=environ))
    assert "too many connections wait" in silent


def test_a_path_and_a_port_are_looked_at_too(worker: Worker) -> None:
    found = doctor(f"unix:{worker.wait_for_socket()}", env=worker.environ, expect=0)
    assert answers(found)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        (nobody, *_) = problems(doctor(f"localhost:{port}", env=worker.environ))
    assert "agent: " in nobody


# Bringing an agent in.


def test_a_worker_without_agent_is_told_how_to_come_by_one(bare_worker: Worker) -> None:
    done = liveheap("doctor", bare_worker.pid, "--json", env=bare_worker.environ)
    hints = [each["hint"] for each in json.loads(done.stdout)["findings"]]
    assert f"liveheap inject {bare_worker.pid}" in hints
    assert not bare_worker.sockets()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_a_filter_that_keeps_ptrace_away_is_named(bare_worker: Worker) -> None:
    words = ["doctor", str(bare_worker.pid), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", FILTERED, *MODULE, *words],
        env=bare_worker.environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    found = problems(told(json.loads(done.stdout)))
    assert any("a seccomp filter of this container or unit" in each for each in found)


@NEEDS_ROOT
def test_another_user_is_told_to_ask_as_the_worker_s(worker: Worker) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "doctor", str(worker.pid), "--json"],
        env={**worker.environ, "HOME": "/", "LIVEHEAP_DIR": ""},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == HINDERED, done.stderr
    found = problems(told(json.loads(done.stdout)))
    assert "its agent talks to its own user and to root" in found[0]


@NEEDS_ROOT
def test_a_full_place_for_the_spool_is_named(stage: Stage) -> None:
    place = stage.directory / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        (place / "other").write_bytes(bytes((1 << 20) - 8192))
        worker = stage.spawn("plain", env={"LIVEHEAP_SPOOL": str(place)})
        worker.wait_for_socket()
        (only,) = problems(doctor(worker.pid, env=worker.environ))
        assert f"{place} has " in only
        assert [path.name for path in place.iterdir()] == ["other"]
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@NEEDS_ROOT
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
def test_a_worker_with_files_of_its_own_is_reached(stage: Stage) -> None:
    where = "/run/user"
    inside = f"mount -t tmpfs tmpfs {where} && mkdir -m 700 {where}/0 && exec "
    program = f"{sys.executable} {Path(__file__).parent / 'workers' / 'plain.py'}"
    command = ["unshare", "-m", "sh", "-c", inside + program]
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("may not unshare")
    worker = stage.spawn_command(command, env={"LIVEHEAP_DIR": ""})
    found = doctor(worker.pid, env=worker.environ, expect=0)
    assert f"it is reached through /proc/{worker.pid}/root" in "".join(found)
    assert answers(found)
