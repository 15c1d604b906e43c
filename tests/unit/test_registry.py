"""The registry: squatted, stale, reused and broken entries; long names."""

import gc
import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from liveheap import registry
from liveheap.registry import (
    Entry,
    RunDirectoryError,
    connect_path,
    directories,
    disabled,
    entries,
    own_directories,
    publish,
    run_directory,
    socket_path,
    start_time,
    withdraw,
)

UID = os.geteuid()
needs_root = pytest.mark.skipif(UID != 0, reason="gives files to another uid")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Our own /run/user and /tmp, empty."""
    found = {"RUNTIME_ROOT": tmp_path / "user", "TEMPORARY_ROOT": tmp_path / "tmp"}
    for name, path in found.items():
        path.mkdir()
        monkeypatch.setattr(registry, name, str(path))
    return found


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A directory fit for entries."""
    path = tmp_path / "run"
    path.mkdir(0o700)
    return path


@pytest.fixture
def environ(run_dir: Path) -> dict[str, str]:
    """An environment that names it."""
    return {"LIVEHEAP_DIR": str(run_dir)}


def here() -> tuple[int, int]:
    """Our own pid and start time."""
    began = start_time(os.getpid())
    assert began is not None
    return os.getpid(), began


def bind(path: Path) -> None:
    """Leave a socket's name behind."""
    with socket.socket(socket.AF_UNIX) as listener, socket_path(path) as name:
        listener.bind(name)


def live_entry(directory: Path, **facts: object) -> Entry:
    """An entry of this process with its socket."""
    entry = publish(directory, *here(), facts)
    bind(entry.socket)
    return entry


# --- start times


def test_the_start_time_is_field_22_of_stat():
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert start_time(os.getpid()) == int(fields[22 - 3])


@pytest.mark.parametrize("name", [b"a b", b") 1 2 (", b"a)b) S 1", b"\xff\n)"])
def test_a_process_name_cannot_shift_the_fields(name, tmp_path, monkeypatch):
    directory = tmp_path / "proc" / "77"
    directory.mkdir(parents=True)
    numbers = b" ".join(b"%d" % number for number in range(4, 53))
    (directory / "stat").write_bytes(b"77 (" + name + b") S " + numbers + b"\n")
    monkeypatch.setattr(registry, "PROC", str(tmp_path / "proc"))
    assert start_time(77) == 22


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**40])
def test_a_process_that_is_not_there_has_no_start_time(pid):
    assert start_time(pid) is None


@pytest.mark.parametrize(
    "stat_line", [b"", b"77 (x) S 1", b"nonsense", b"77 (x) S " * 9]
)
def test_a_stat_that_cannot_be_read_has_no_start_time(stat_line, tmp_path, monkeypatch):
    directory = tmp_path / "proc" / "77"
    directory.mkdir(parents=True)
    (directory / "stat").write_bytes(stat_line)
    monkeypatch.setattr(registry, "PROC", str(tmp_path / "proc"))
    assert start_time(77) is None


# --- directories


def test_the_chosen_directory_is_made_private(tmp_path):
    before = os.umask(0)
    try:
        path = run_directory({"LIVEHEAP_DIR": str(tmp_path / "a" / "b")}, create=True)
    finally:
        os.umask(before)
    assert path == tmp_path / "a" / "b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_relative_choice_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_directory({"LIVEHEAP_DIR": "x"}, create=True) == tmp_path / "x"
    assert own_directories({"LIVEHEAP_DIR": "x"}) == [tmp_path / "x"]


def test_the_users_runtime_directory_comes_before_tmp(places):
    (places["RUNTIME_ROOT"] / str(UID)).mkdir()
    expected = places["RUNTIME_ROOT"] / str(UID) / "liveheap"
    assert run_directory({}, create=True) == expected
    assert run_directory({}, create=False) == expected


def test_without_a_runtime_directory_it_is_tmp(places):
    expected = places["TEMPORARY_ROOT"] / f"liveheap-{UID}"
    assert run_directory({}, create=True) == expected


def test_an_empty_choice_is_none(places):
    assert (
        run_directory({"LIVEHEAP_DIR": ""}, create=True).parent
        == (places["TEMPORARY_ROOT"])
    )


def test_nothing_is_made_unless_asked_for(places):
    with pytest.raises(RunDirectoryError) as caught:
        run_directory({}, create=False)
    assert caught.value.hint
    assert [*places["TEMPORARY_ROOT"].iterdir()] == []
    assert directories({}) == []


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o600, 0o1700])
def test_a_chosen_directory_with_another_mode_is_refused_in_words(tmp_path, mode):
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(mode)
    for create in (True, False):
        with pytest.raises(RunDirectoryError, match=f"mode {mode:04o}, not 0700"):
            run_directory({"LIVEHEAP_DIR": str(path)}, create=create)
    assert own_directories({"LIVEHEAP_DIR": str(path)}) == []


def test_a_chosen_directory_that_is_a_link_is_refused(tmp_path, run_dir):
    (tmp_path / "link").symlink_to(run_dir)
    with pytest.raises(RunDirectoryError, match="or a link to one"):
        run_directory({"LIVEHEAP_DIR": str(tmp_path / "link")}, create=True)


def test_a_chosen_directory_that_is_a_file_or_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunDirectoryError):
            run_directory({"LIVEHEAP_DIR": str(bad)}, create=True)


@needs_root
def test_a_chosen_directory_of_another_uid_is_refused(run_dir, environ):
    os.chown(run_dir, 12345, 12345)
    with pytest.raises(RunDirectoryError, match="belongs to uid 12345"):
        run_directory(environ, create=True)


@pytest.mark.parametrize("squat", ["link", "mode", "file", "uid"])
def test_a_squatted_name_in_tmp_is_left_alone_for_a_random_one(places, squat, tmp_path):
    name = places["TEMPORARY_ROOT"] / f"liveheap-{UID}"
    if squat == "link":
        (tmp_path / "bait").mkdir(0o700)
        name.symlink_to(tmp_path / "bait")
    elif squat == "file":
        name.write_text("")
    else:
        name.mkdir(0o755 if squat == "mode" else 0o700)
    if squat == "uid":
        if UID != 0:
            pytest.skip("gives a directory to another uid")
        os.chown(name, 12345, 12345)
    path = run_directory({}, create=True)
    assert path.name.startswith(f"liveheap-{UID}-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert own_directories({}) == [path]
    assert run_directory({}, create=True) == path, "the next agent joins the first"
    live_entry(path)
    assert [entry.pid for entry in entries({})] == [os.getpid()]


def test_where_no_directory_can_be_made_the_error_says_so(places):
    places["TEMPORARY_ROOT"].rmdir()
    with pytest.raises(RunDirectoryError) as caught:
        run_directory({}, create=True)
    assert "LIVEHEAP_DIR" in (caught.value.hint or "")


def test_a_client_looks_into_every_directory_of_the_user(places, run_dir):
    (places["RUNTIME_ROOT"] / str(UID)).mkdir()
    expected = [
        places["RUNTIME_ROOT"] / str(UID) / "liveheap",
        places["TEMPORARY_ROOT"] / f"liveheap-{UID}",
        places["TEMPORARY_ROOT"] / f"liveheap-{UID}-00ff",
    ]
    for path in expected:
        path.mkdir(0o700)
    (places["TEMPORARY_ROOT"] / f"liveheap-{UID}-bad").mkdir(0o755)
    (places["TEMPORARY_ROOT"] / "liveheap-x").write_text("")
    assert directories({}) == expected
    assert directories({"LIVEHEAP_DIR": str(run_dir)}) == [run_dir]
    assert own_directories({}) == expected


@needs_root
def test_root_also_sees_the_directories_of_others_and_others_do_not(
    places, monkeypatch
):
    theirs = [
        places["TEMPORARY_ROOT"] / "liveheap-12345",
        places["RUNTIME_ROOT"] / "12345" / "liveheap",
    ]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.mkdir(0o700)
        os.chown(path, 12345, 12345)
    assert directories({}) == theirs
    assert own_directories({}) == []
    monkeypatch.setattr(registry.os, "geteuid", lambda: 54321)
    assert directories({}) == []


@needs_root
def test_an_entry_of_another_user_says_whose_it_is(places):
    theirs = places["TEMPORARY_ROOT"] / "liveheap-12345"
    theirs.mkdir(0o700)
    with subprocess.Popen(["sleep", "60"], user=12345) as process:
        began = start_time(process.pid)
        entry = publish(theirs, process.pid, began, {"program": "app"})
        bind(entry.socket)
        for path in (theirs, entry.socket, entry.facts_path):
            os.chown(path, 12345, 12345)
        (found,) = entries({})
        process.kill()
    assert found.facts["uid"] == 12345
    assert found.facts["program"] == "app"


@needs_root
def test_a_process_that_became_another_user_is_not_listed_under_the_old_one(places):
    theirs = places["TEMPORARY_ROOT"] / "liveheap-12345"
    theirs.mkdir(0o700)
    entry = live_entry(theirs)
    for path in (theirs, entry.socket, entry.facts_path):
        os.chown(path, 12345, 12345)
    assert entries({}) == []
    assert entry.socket.exists()


@needs_root
def test_root_unlinks_nothing_in_the_directories_of_others(places):
    theirs = places["TEMPORARY_ROOT"] / "liveheap-12345"
    theirs.mkdir(0o700)
    os.chown(theirs, 12345, 12345)
    (theirs / "1-1.sock").write_text("")
    assert entries({}) == []
    assert (theirs / "1-1.sock").exists()


# --- entries


def test_a_published_worker_is_listed_with_its_facts_until_withdrawn(run_dir, environ):
    entry = live_entry(run_dir, program="app", kind="master")
    (found,) = entries(environ)
    assert (found.pid, found.start_time) == here()
    assert found.socket == entry.socket == run_dir / "{}-{}.sock".format(*here())
    assert found.facts["program"] == "app"
    assert found.facts["uid"] == UID
    assert stat.S_IMODE(entry.facts_path.stat().st_mode) == 0o600
    withdraw(entry)
    assert entries(environ) == []
    assert [*run_dir.iterdir()] == []
    withdraw(entry)


def test_facts_are_replaced_whole_and_leave_no_draft(run_dir, environ):
    live_entry(run_dir, program="one")
    publish(run_dir, *here(), {"program": "two"})
    assert entries(environ)[0].facts["program"] == "two"
    assert len([*run_dir.iterdir()]) == 2


def test_facts_that_cannot_be_put_in_place_leave_no_draft(run_dir):
    (run_dir / "{}-{}.json".format(*here()) / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        publish(run_dir, *here(), {})
    assert len([*run_dir.iterdir()]) == 1


def test_without_proc_nobody_is_listed_and_nobody_taken_for_dead(
    run_dir, environ, monkeypatch
):
    entry = live_entry(run_dir)
    monkeypatch.setattr(registry, "PROC", "/nonexistent")
    assert registry.pid_namespace() == 0
    assert start_time(os.getpid()) is None
    assert entries(environ) == []
    assert entry.socket.exists()
    assert entry.facts_path.exists()


def test_facts_that_json_has_no_word_for_are_written_as_text(run_dir, environ):
    live_entry(run_dir, cwd=Path("/srv"), odd="\udcff")
    assert entries(environ)[0].facts["cwd"] == "/srv"


def test_an_entry_without_its_socket_is_not_listed_and_not_removed(run_dir, environ):
    entry = publish(run_dir, *here(), {})
    assert entries(environ) == []
    assert entry.facts_path.exists()


def test_names_of_the_dead_are_unlinked(run_dir, environ):
    live = live_entry(run_dir)
    dead = [f"{2**31}-5.sock", f"{2**31}-5.json", f".{2**31}-5.00ff00ff"]
    for name in dead:
        (run_dir / name).write_text("")
    assert [entry.socket for entry in entries(environ)] == [live.socket]
    assert sorted(run_dir.iterdir()) == sorted((live.socket, live.facts_path))


def test_a_reused_pid_is_another_process(run_dir, environ):
    pid, began = here()
    old = publish(run_dir, pid, began - 1, {"program": "old"})
    bind(old.socket)
    assert entries(environ) == []
    assert [*run_dir.iterdir()] == []


def test_a_process_that_ended_but_is_not_reaped_keeps_its_name(run_dir, environ):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        began = start_time(child)
        assert began is not None
        bind(publish(run_dir, child, began, {}).socket)
        assert [entry.pid for entry in entries(environ)] == [child]
    finally:
        os.waitpid(child, 0)
    assert entries(environ) == []


OTHER_NAMES = """
token disabled audit.log 0-1.sock 01-1.sock 1-.sock x-1.sock 1-1.sockx 1-1.socket
12345678901-1.sock \u0661-\u0661.sock -1-1.sock 1-1 1-1. 1_1.sock 1-1.00FF00FF
"""


@pytest.mark.parametrize("name", [*OTHER_NAMES.split(), "1-1.sock\n", " 1-1.sock"])
def test_other_names_are_neither_listed_nor_touched(name, run_dir, environ):
    (run_dir / name).write_text("")
    assert entries(environ) == []
    assert (run_dir / name).exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_what_is_not_a_socket_is_not_listed(kind, run_dir, environ, tmp_path):
    path = run_dir / "{}-{}.sock".format(*here())
    if kind == "file":
        path.write_text("")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        bind(tmp_path / "real.sock")
        path.symlink_to(tmp_path / "real.sock")
    assert entries(environ) == []


@needs_root
def test_a_socket_of_another_uid_is_not_listed(run_dir, environ):
    os.chown(live_entry(run_dir).socket, 12345, 12345)
    assert entries(environ) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a": ' * 10_000,
        b'{"a": "' + b"x" * 70_000 + b'"}',
        b'{"n": ' + b"9" * 50_000 + b"}",
    ],
    ids=lambda content: repr(content[:8]),
)
def test_broken_facts_are_no_facts(content, run_dir, environ):
    entry = live_entry(run_dir)
    entry.facts_path.write_bytes(content)
    (found,) = entries(environ)
    assert found.facts == {"uid": UID}


@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "directory", "unreadable"])
def test_facts_that_are_no_file_of_ours_are_no_facts(kind, run_dir, environ, tmp_path):
    entry = live_entry(run_dir)
    entry.facts_path.unlink()
    if kind == "link":
        (tmp_path / "bait").write_text('{"bait": 1}')
        entry.facts_path.symlink_to(tmp_path / "bait")
    elif kind == "fifo":
        os.mkfifo(entry.facts_path)
    elif kind == "directory":
        entry.facts_path.mkdir()
    elif kind == "unreadable":
        entry.facts_path.symlink_to(entry.facts_path)
    (found,) = entries(environ)
    assert found.facts == {"uid": UID}


def test_what_another_pid_namespace_wrote_is_neither_listed_nor_stale(run_dir, environ):
    foreign = publish(run_dir, 2**31, 5, {})
    facts = json.loads(foreign.facts_path.read_text())
    assert facts["pid_namespace"] == registry.pid_namespace() > 0
    foreign.facts_path.write_text(json.dumps({**facts, "pid_namespace": 1}))
    bind(foreign.socket)
    assert entries(environ) == []
    assert foreign.socket.exists()
    assert foreign.facts_path.exists()


def test_files_that_vanish_while_listing_are_no_error(run_dir, environ, monkeypatch):
    live_entry(run_dir)
    began = here()[1]

    def vanish(pid: int) -> int:
        for path in run_dir.iterdir():
            path.unlink()
        return began

    monkeypatch.setattr(registry, "start_time", vanish)
    assert entries(environ) == []


def test_a_directory_that_vanishes_while_listing_is_no_error(environ, monkeypatch):
    gone = Path("/nonexistent/liveheap")
    monkeypatch.setattr(registry, "directories", lambda environ: [gone])
    assert entries(environ) == []


def test_an_entry_in_two_directories_is_listed_once(places, run_dir, environ):
    second = places["TEMPORARY_ROOT"] / f"liveheap-{UID}"
    second.mkdir(0o700)
    for directory in (run_dir, second):
        live_entry(directory)
    (found,) = entries(environ)
    assert found.socket.parent == run_dir


def test_listing_leaves_no_descriptor_open(run_dir, environ):
    live_entry(run_dir)
    gc.collect()  # what an earlier test has left is closed now
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        entries(environ)
    assert os.listdir("/proc/self/fd") == before


# --- long paths


@pytest.mark.parametrize("length", [90, 107, 108, 250])
def test_a_socket_can_be_reached_however_long_its_path_is(length, tmp_path):
    directory = tmp_path
    name = "{}-{}.sock".format(*here())
    while (missing := length - len(str(directory / name))) > 1:
        directory /= "d" * min(missing - 1, 200)
    directory.mkdir(0o700, parents=True, exist_ok=True)
    environ = {"LIVEHEAP_DIR": str(directory)}
    directory.chmod(0o700)
    entry = publish(directory, *here(), {})
    with socket.socket(socket.AF_UNIX) as listener:
        with socket_path(entry.socket) as path:
            listener.bind(path)
        listener.listen()
        (found,) = entries(environ)
        with socket.socket(socket.AF_UNIX) as client:
            with connect_path(found) as path:
                assert len(path) <= 107
                client.connect(path)
            accepted, _ = listener.accept()
            accepted.close()


def test_a_long_path_through_a_link_is_refused(tmp_path):
    real = tmp_path / ("r" * 120)
    real.mkdir()
    (tmp_path / ("l" * 120)).symlink_to(real)
    with (
        pytest.raises(OSError, match=r"Not a directory|Too many levels"),
        socket_path(tmp_path / ("l" * 120) / "1-1.sock"),
    ):
        pass


# --- the kill switch


def test_the_kill_switch_is_a_file_in_any_directory_of_ours(places, run_dir, environ):
    assert not disabled(environ)
    (run_dir / "disabled").write_text("")
    assert disabled(environ)
    assert not disabled({})
    path = run_directory({}, create=True)
    (path / "disabled").symlink_to("/nonexistent")
    assert disabled({})


def test_the_kill_switch_is_also_a_variable():
    assert disabled({"LIVEHEAP": "0"})
    assert not disabled({"LIVEHEAP": "1"})


def test_a_kill_switch_in_a_directory_that_is_not_fit_does_not_count(tmp_path):
    path = tmp_path / "open"
    path.mkdir(0o755)
    (path / "disabled").write_text("")
    assert not disabled({"LIVEHEAP_DIR": str(path)})
