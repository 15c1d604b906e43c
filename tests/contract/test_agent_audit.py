"""The audit log: who asked what, in lines that say no secret and hold nobody up."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.agent_under_test import make_agent, session_of
from contract.fake_heap import FakeHeap
from contract.minimal_client import Gone, MinimalClient
from spawn import eventually

from liveheap.agent import audit
from liveheap.agent.audit import Audit
from liveheap.agent.service import Agent
from liveheap.commands import COMMANDS
from liveheap.errors import CommandError, LocalProtocolError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Request

TOLD = {"ssh": "192.0.2.7 50022 192.0.2.1 22", "user": "ann"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def audited(tmp_path: Path, heap: FakeHeap, log: Path) -> Agent:
    agent = make_agent(tmp_path, heap)
    agent.audit.path = str(log)
    return agent


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]


def ask(client: MinimalClient, command: str, told: dict[str, str], **args: Any) -> None:
    """Ask as a client does that says who asks."""
    client.last_id += 1
    client.send(Request(client.last_id, command, args, told))
    list(client.answers(client.last_id))


def test_a_session_is_told_from_its_start_to_its_end(audited, log):
    with session_of(audited) as client:
        client.request("histogram", top=3)
    start, asked, end = lines_of(log)

    for line in (start, asked, end):
        assert line["instance"] == audited.identity.instance
        assert line["pid"] == os.getpid()
        assert line["session"] == start["session"]
        assert line["scope"] == "graph"
        assert line["peer"] == {"transport": "memory"}
        assert abs(line["time"] - start["time"]) < 3600
    assert (start["what"], start["event"]) == ("session", "start")
    assert (asked["what"], asked["result"], asked["args"]) == (
        "histogram",
        "ok",
        {"top": 3},
    )
    assert asked["bytes_out"] > 0
    assert (end["event"], end["reason"]) == ("end", "closed by the client")
    assert end["bytes_out"] >= asked["bytes_out"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_every_command_has_a_line_granted_or_not(command, audited, log):
    scopes = (Scope.READ,) if command.name == "stop" else (Scope.READ, Scope.EXEC)
    for scope in scopes:
        with session_of(audited, scope) as client, contextlib.suppress(Gone, OSError):
            list(client.answers(client.ask(command.name)))
    told = [line for line in lines_of(log) if line["what"] == command.name]
    asked = [line["scope"] for line in told if "result" in line]
    assert asked == [scope.label for scope in scopes]


def test_what_is_refused_is_told_too(audited, log):
    with session_of(audited) as client:
        for name in ("no\x1bsuch\n" + "x" * 54, "console"):
            with pytest.raises(CommandError):
                client.request(name, code="SECRET" * 99)
    refused = [line for line in lines_of(log) if "result" in line]
    assert [line["result"] for line in refused] == ["unknown-command", "scope"]
    assert [line["args"] for line in refused] == [{"code": "str len=594"}] * 2
    assert "SECRET" not in log.read_text()
    assert "\x1b" not in log.read_text()


def test_what_the_client_says_of_itself_is_marked_as_told(audited, log):
    with session_of(audited) as client:
        ask(client, "status", TOLD)
        ask(client, "histogram", {})
        ask(client, "gc", {"user": "somebody else"})
    start, *rest = lines_of(log)
    assert "told" not in start
    assert [line["told"] for line in rest] == [TOLD] * 4
    assert all(line["peer"] == {"transport": "memory"} for line in rest)


@pytest.mark.parametrize(
    "told",
    [
        {"user": "x" * 257},
        {"x" * 65: "y"},
        {"": "y"},
        {str(n): "y" for n in range(9)},
        {"user": 5},
        {"user": {"deep": "y"}},
        ["user"],
    ],
    ids=str,
)
def test_more_than_a_few_words_of_oneself_are_against_the_rules(told, audited):
    with session_of(audited) as client:
        with pytest.raises(LocalProtocolError):
            client.connection.send(Request(1, "status", {}, told))
        assert client.request("status")


def test_what_a_client_says_is_one_line_whatever_it_says(audited, log):
    hostile = '\n{"what": "forged"}\x1b[2J\u202e\u2028'
    with session_of(audited) as client:
        ask(client, "status", {"user": hostile, "ssh": hostile})
    assert {line["what"] for line in lines_of(log)} == {"session", "status"}
    assert lines_of(log)[1]["told"]["user"] == hostile
    assert log.read_bytes().count(b"\n") == 3


def test_code_is_told_before_it_runs_cut_and_escaped(audited, log):
    with session_of(audited, Scope.EXEC):
        [session] = audited.sessions
        session.context.audit("console", code="print(1)\n\x1b\u202e" + "x" * 5000)
    [told] = [line for line in lines_of(log) if line["what"] == "console"]
    assert told["what"] == "console"
    assert told["code"].startswith("print(1)\n\x1b\u202ex")
    assert told["code"].endswith("... (5011 characters)")
    assert max(map(len, log.read_bytes().splitlines())) < audit.LONGEST_LINE


def test_nothing_that_a_client_says_pushes_its_code_out_of_the_log(audited, log):
    talkative = {f"{n}" * 64: "\U0001f600" * 256 for n in range(8)}
    code = "#" * 3000 + "\U0001f40d" * 1000 + "\nthe last line"
    with session_of(audited, Scope.EXEC) as client:
        client.request("clone")
        ask(client, "status", talkative)
        for command in ("console", "clone-ask"):
            list(client.answers(client.ask(command, code=code, whole=True)))
    for what in ("console-line", "clone-line"):
        told = [line for line in lines_of(log) if line["what"] == what]
        assert "".join(line["code"] for line in told) == code
    assert max(map(len, log.read_bytes().splitlines())) < audit.LONGEST_LINE


@pytest.mark.parametrize(
    "facts",
    [
        {"text": "\x00" * 10_000},
        {"args": {str(n): "y" * 1000 for n in range(10_000)}},
        {"args": {"x" * 10_000: [["\U0001f40d" * 1000] * 1000] * 1000}},
        {"number": 10**5000, "object": object(), "bytes": b"SECRET", "none": None},
        {"deep": {"a": {"b": {"c": {"d": {"e": 1}}}}}},
        {"not finite": float("nan"), "lone": "\ud800"},
    ],
    ids=["zeros", "many", "wide", "odd", "deep", "odder"],
)
def test_a_line_is_never_longer_than_a_pipe_takes_at_once(facts, log):
    written = Audit("instance")
    written.path = str(log)
    written.write("x", **facts)
    [line] = lines_of(log)
    assert line["what"] == "x"
    assert len(log.read_bytes()) <= select.PIPE_BUF == audit.LONGEST_LINE
    assert "SECRET" not in log.read_text()


@pytest.fixture(params=["a full disk", "a directory", "nothing", "a link", "read-only"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place to which no line can be written."""
    match request.param:
        case "a full disk":
            return "/dev/full"
        case "a directory":
            return str(tmp_path)
        case "a link":
            (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
            return str(tmp_path / "link")
        case "read-only":
            return "/proc/version"
        case _:
            return str(tmp_path / "gone" / "audit.log")


def test_lines_that_are_lost_are_counted_in_the_next(unwritable, audited, log):
    audited.audit.path = unwritable
    with session_of(audited) as client:
        assert client.request("histogram")
        lost = client.request("status").as_dict()["lost_audit_lines"]
        assert lost == 2
        eventually(lambda: audited.audit.lost == 3, what="all three are counted")
        audited.audit.path = str(log)
        client.request("gc")
    gc, end = lines_of(log)
    assert gc["lost"] == 3
    assert "lost" not in end


@contextlib.contextmanager
def standard_error(descriptor: int) -> Iterator[None]:
    """Let descriptor 2 be another one for a while."""
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def to_stderr(log: Path) -> Audit:
    written = Audit("instance", poll=select.poll)
    written.path = str(log)
    return written


def test_lines_go_to_standard_error_on_demand(pipe, log):
    with standard_error(pipe[1]):
        to_stderr(log).write("one")
    assert os.read(pipe[0], 4096) == log.read_bytes()


def test_a_standard_error_that_nobody_reads_is_not_waited_for(pipe, log):
    os.set_blocking(pipe[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"x" * 4096)
    os.set_blocking(pipe[1], True)
    with standard_error(pipe[1]):
        written = to_stderr(log)
        written.write("one")
        written.write("two")
        assert written.lost == 2
        while os.read(pipe[0], 1 << 16) and select.select([pipe[0]], [], [], 0)[0]:
            pass
        written.write("three")
    told = json.loads(os.read(pipe[0], 4096))
    assert (told["what"], told["lost"]) == ("three", 2)
    assert ["lost" in line for line in lines_of(log)] == [False] * 3
    assert written.lost == 0


def test_what_has_become_of_standard_error_is_left_alone(pipe, log, tmp_path):
    data = tmp_path / "database"
    with standard_error(pipe[1]):
        written = to_stderr(log)
        with data.open("wb") as opened, standard_error(opened.fileno()):
            written.write("one")
        written.write("two")
    assert data.read_bytes() == b""
    assert json.loads(os.read(pipe[0], 4096))["lost"] == 1
    assert len(lines_of(log)) == 2


def test_nothing_goes_through_the_host_s_logging(audited, monkeypatch, caplog):
    def explode(*_: object) -> None:
        raise AssertionError("the host's own code")

    monkeypatch.setattr("logging.Logger.handle", explode)
    monkeypatch.setattr("logging.Handler.emit", explode)
    with session_of(audited) as client:
        assert client.request("status")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("said", "read"),
    [("stderr", "stderr"), (" STDERR ", "stderr"), ("file", "file"), ("", "file")],
)
def test_where_lines_go_is_a_setting(said, read, tmp_path, heap):
    assert make_agent(tmp_path, heap, audit=said).config.audit == read


def test_another_place_is_refused_in_words(tmp_path, heap):
    config = make_agent(tmp_path, heap, audit="syslog").config
    assert config.audit == "file"
    assert "expected file or stderr" in config.complaints[0]
