"""A snapshot whose link drops, over memory: gone on with where it broke off, or not."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_agent import AGREED, FakeAgent
from test_client_fetch import HEADER, RAW, TRAILER

from liveheap.errors import AuthenticationError, CommandError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import (
    Chunk,
    Failure,
    Message,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Blob, Record
from liveheap.snapshot.reader import Snapshot
from liveheap_client.caller import Caller
from liveheap_client.commands import fetch as module
from liveheap_client.commands.fetch import Fetched, fetch
from liveheap_client.errors import (
    ConnectError,
    ConnectionLost,
    HostRefused,
    SSHError,
    TimedOut,
    TransportError,
    WorkerGone,
)
from liveheap_client.session import Session

ID = "5e" * 16
PIECE = 10
CUTS = {
    "before the first chunk": 0,
    "early": 1 * PIECE,
    "half way": 10 * PIECE,
    "shortly before the end": len(RAW) - PIECE,
    "before the trailer": len(RAW),
}


class Agents:
    """Agents of one worker, one a call: each sends up to its cut, and hangs up."""

    def __init__(self, *cuts: int | LiveheapError) -> None:
        self.cuts = list(cuts)
        self.calls = 0
        self.asked: list[Request] = []
        self.ident = AGREED.ident
        self.agents: list[FakeAgent] = []

    def open(self, scope: Scope) -> Session:
        assert scope is Scope.GRAPH
        self.calls += 1
        cut = self.cuts.pop(0) if self.cuts else None
        if isinstance(cut, LiveheapError):
            raise cut
        agent = FakeAgent(
            snapshot=lambda request: self.send(agent, request, cut),
            resume=lambda request: self.send(agent, request, cut),
            release=self.release,
        )
        agent.__enter__()
        self.agents.append(agent)
        agreed = dataclasses.replace(AGREED, ident=self.ident)
        return Session(agent.transport, agreed)

    def send(
        self, agent: FakeAgent, request: Request, cut: int | None
    ) -> Iterator[Message]:
        self.asked.append(request)
        offset = request.args.get("offset", 0)
        if request.command == "snapshot":
            detail = {"header": HEADER, "snapshot": ID}
            yield Progress(request.id, "header", detail=detail)
        end = len(RAW) if cut is None else cut
        for begin in range(offset, end, PIECE):
            yield Chunk(request.id, begin, PIECE, 0, RAW[begin : begin + PIECE])
        if cut is None:
            yield Result(request.id, Blob(HEADER, TRAILER))
        else:
            agent.end.close()

    def release(self, request: Request) -> Iterator[Message]:
        self.asked.append(request)
        yield Result(request.id, Record((("released", "bool", True),)))

    def close(self) -> None:
        for agent in self.agents:
            agent.__exit__(None, None, None)


@pytest.fixture
def agents() -> Iterator[Callable[..., Agents]]:
    made: list[Agents] = []

    def make(*cuts: int | LiveheapError) -> Agents:
        made.append(Agents(*cuts))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUME_DELAYS_S", (0.0,) * 5)


def is_whole(path: Path) -> bool:
    with Snapshot.open(path) as snapshot:
        return b"".join(snapshot.iter_raw()) == RAW


@pytest.mark.parametrize("cut", CUTS.values(), ids=[*CUTS])
def test_a_link_that_drops_is_dialled_again_for_what_is_missing(
    cut: int, agents: Callable[..., Agents], tmp_path: Path
) -> None:
    path, worker, troubles = tmp_path / "x.liveheap", agents(cut), []

    fetch(Caller(worker.open), path, on_trouble=troubles.append)

    assert is_whole(path)
    assert list(tmp_path.iterdir()) == [path]
    _, resume, release = worker.asked
    assert resume.args == {"snapshot": ID, "offset": cut}
    assert release.args == {"snapshot": ID}
    assert "going on" in troubles[0]


def test_three_drops_running_still_make_one_file(
    agents: Callable[..., Agents], tmp_path: Path
) -> None:
    path, worker = tmp_path / "x.liveheap", agents(50, 50, 120)

    fetch(Caller(worker.open), path)

    assert is_whole(path)
    offsets = [request.args.get("offset") for request in worker.asked]
    assert offsets == [None, 50, 50, 120, None]


@pytest.mark.parametrize(
    "trouble",
    [
        SSHError("ssh: connect to host box: No route to host"),
        TimedOut("not answering"),
        AuthenticationError("too many sessions", code="busy"),
    ],
)
def test_a_host_that_is_away_for_a_moment_is_dialled_once_more(
    trouble: LiveheapError, agents: Callable[..., Agents], tmp_path: Path
) -> None:
    path, worker = tmp_path / "x.liveheap", agents(50, trouble)

    fetch(Caller(worker.open), path)

    assert is_whole(path)
    assert worker.calls == 3


@pytest.mark.parametrize(
    "trouble",
    [
        HostRefused("Host key verification failed."),
        ConnectError("no process 4711 here"),
        AuthenticationError("not genuine", code="not-genuine"),
    ],
)
def test_what_will_not_pass_is_told_at_once(
    trouble: LiveheapError, agents: Callable[..., Agents], tmp_path: Path
) -> None:
    worker = agents(50, trouble)

    with pytest.raises(type(trouble), match=str(trouble)):
        fetch(Caller(worker.open), tmp_path / "x.liveheap")

    assert worker.calls == 2
    assert list(tmp_path.iterdir()) == []


def test_after_five_attempts_it_is_given_up_and_nothing_stays(
    agents: Callable[..., Agents], tmp_path: Path
) -> None:
    worker = agents(*[50] * 9)

    with pytest.raises(ConnectionLost, match=r"broke off after 50 bytes.*5 attempts"):
        fetch(Caller(worker.open), tmp_path / "x.liveheap")

    assert worker.calls == 6
    assert list(tmp_path.iterdir()) == []


def test_the_delays_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    delays = module.RESUME_DELAYS_S
    assert len(delays) == 5
    assert list(delays) == sorted(set(delays))
    assert sum(delays) < module.LEASE_S


@pytest.mark.parametrize(
    "ident", ["web-3:4711:918273:2", "web-3:4712:918274:3"], ids=["agent", "process"]
)
def test_another_agent_is_not_asked_for_the_rest(
    ident: str, agents: Callable[..., Agents], tmp_path: Path
) -> None:
    worker = agents(50)

    def open_session(scope: Scope) -> Session:
        session = worker.open(scope)
        worker.ident = ident
        return session

    with pytest.raises(WorkerGone):
        fetch(Caller(open_session), tmp_path / "x.liveheap")

    assert [request.command for request in worker.asked] == ["snapshot"]
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_has_ended_is_the_end(
    agents: Callable[..., Agents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = agents(50)
    first = worker.send

    def send(agent: FakeAgent, request: Request, cut: int | None) -> Iterator[Message]:
        if request.command == "resume":
            yield Failure(request.id, "no-such-snapshot", "none of that id")
        else:
            yield from first(agent, request, cut)

    monkeypatch.setattr(worker, "send", send)
    with pytest.raises(CommandError, match="none of that id"):
        fetch(Caller(worker.open), tmp_path / "x.liveheap")

    assert list(tmp_path.iterdir()) == []


def test_progress_says_that_the_link_dropped(
    agents: Callable[..., Agents], tmp_path: Path
) -> None:
    seen: list[Fetched] = []

    fetch(Caller(agents(50).open), tmp_path / "x.liveheap", on_progress=seen.append)

    assert any("dropped" in each.phase for each in seen)
    assert seen[-1].phase == "snapshot"
    assert seen[-1].raw_bytes == len(RAW)


def test_a_resumed_chunk_that_does_not_fit_is_the_agent_s_fault(
    agents: Callable[..., Agents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = agents(50)
    first = worker.send

    def send(agent: FakeAgent, request: Request, cut: int | None) -> Iterator[Message]:
        if request.command == "resume":
            request = dataclasses.replace(request, args={"offset": 0})
        yield from first(agent, request, cut)

    monkeypatch.setattr(worker, "send", send)
    with pytest.raises(LiveheapError, match="expected at 50"):
        fetch(Caller(worker.open), tmp_path / "x.liveheap")

    assert list(tmp_path.iterdir()) == []


def test_an_older_agent_that_knows_no_lease_is_asked_without(
    agents: Callable[..., Agents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = agents()
    first = worker.send

    def send(agent: FakeAgent, request: Request, cut: int | None) -> Iterator[Message]:
        if "lease_s" in request.args:
            said = "snapshot has no argument 'lease_s'"
            yield Failure(request.id, "bad-argument", said)
        else:
            yield from first(agent, request, cut)

    monkeypatch.setattr(worker, "send", send)
    fetch(Caller(worker.open), tmp_path / "x.liveheap")

    assert is_whole(tmp_path / "x.liveheap")


def test_a_link_that_never_stood_is_not_dialled_again(tmp_path: Path) -> None:
    calls: list[Scope] = []

    def refuse(scope: Scope) -> Session:
        calls.append(scope)
        raise SSHError("no route")

    with pytest.raises(TransportError):
        fetch(Caller(refuse), tmp_path / "x.liveheap")

    assert len(calls) == 1
