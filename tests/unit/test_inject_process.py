"""What /proc shows of a process decides whether it may get an agent, and is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from liveheap_client import outside
from liveheap_client.bridged import _hint_from_here
from liveheap_client.errors import InjectError
from liveheap_client.inject import process
from liveheap_client.target import parse
from liveheap_client.workers import inject_hint


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], process.Python]:
    """A function that looks at a process which has mapped one file."""

    def look(path: str) -> process.Python:
        monkeypatch.setattr(process, "_mapped", lambda _pid: iter([path]))
        return process._supported(4711, process.python_of(4711))

    return look


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "3.11"),
        ("/usr/bin/python3.14", "3.14"),
        ("/opt/a/_json.cpython-310-x86_64-linux-gnu.so", "3.10"),
        ("/opt/python3.12/lib-dynload/_queue.so", "3.12"),
    ],
)
def test_the_version_is_in_a_file_s_name(mapped, path, version):
    assert str(mapped(path)) == version
    assert mapped(path).tag.startswith("cpython-3")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/usr/bin/python3.13t", "free-threaded"),
        ("/usr/lib/libpython3.14t.so.1.0", "free-threaded"),
        ("/usr/bin/python3.9", "does not know"),
        ("/usr/bin/python3.16", "does not know"),
        ("/usr/local/bin/python", "does not show"),
        ("/usr/bin/redis-server", "no CPython"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(mapped, path, word):
    with pytest.raises(InjectError, match=word) as refused:
        mapped(path)
    assert refused.value.hint


def test_a_process_that_is_traced_already_is_left_alone():
    status = {"Tgid": "4711", "State": "S (sleeping)", "TracerPid": str(os.getpid())}
    with pytest.raises(InjectError, match=f"traced already, by {os.getpid()}"):
        process._refuse_by_state(4711, status)


def test_another_user_s_process_is_not_tried(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    process._refuse_by_owner(4711, 1000)
    with pytest.raises(InjectError, match="another user") as refused:
        process._refuse_by_owner(4711, 1001)
    assert "sudo" in str(refused.value.hint)


def test_ssh_s_far_end_says_what_to_run_there():
    fields = {"error": "connect", "hint": inject_hint(4711)}
    hint = _hint_from_here(fields, parse("me@shop-1/4711"))
    assert hint is not None
    assert hint.endswith("ssh -t me@shop-1 liveheap inject 4711")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("liveheap doctor 4711 says", "liveheap doctor me@shop-1/4711 says"),
        ("or: liveheap doctor", "or: liveheap doctor me@shop-1"),
    ],
)
def test_a_hint_to_see_the_doctor_is_said_for_here(there: str, here: str):
    fields = {"error": "connect", "hint": there}
    assert _hint_from_here(fields, parse("me@shop-1/4711")) == here


def test_what_shows_from_outside_is_said_in_a_line():
    before = outside.glimpse(os.getpid())
    assert before is not None
    sum(range(3_000_000))
    told = outside.told(os.getpid(), before)
    assert "RSS" in told
    assert "thread" in told
    assert "\n" not in told
    gone = max(map(int, filter(str.isdigit, os.listdir("/proc")))) + 100_000
    assert not Path(f"/proc/{gone}").exists()
    assert "has ended" in outside.told(gone, before)
