"""The rounds of a hunt: spans of time, and links that drop between two rounds."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_agent import AGREED, FakeAgent
from test_client_fetch import snapshot

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Failure, Message, Request
from liveheap_client.caller import Caller
from liveheap_client.commands import rounds as module
from liveheap_client.commands.rounds import Watch, iter_rounds, seconds
from liveheap_client.errors import SSHError, UsageError
from liveheap_client.session import Session


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("600", 600),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5", 1.5),
        ("0.2s", 0.2),
        ("1d", 86400),
    ],
)
def test_spans_of_time(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "soon", "10x", "m", "1.2.3", "5 m", "99d", "10mm", "1e3"]
)
def test_what_is_no_span_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


def watch(troubles: list[str]) -> Watch:
    return Watch(
        on_fetch=lambda _so_far: None,
        on_wait=lambda _waited, _interval: None,
        on_trouble=troubles.append,
    )


def take(caller: Caller, directory: Path, troubles: list[str], **how: Any) -> list[str]:
    taken = iter_rounds(
        caller,
        directory,
        args={},
        watch=watch(troubles),
        **{"interval_s": 0.01, "numbers": range(1, 3), **how},
    )
    return [round_.path.name for round_ in taken]


def test_every_round_has_a_file(tmp_path: Path) -> None:
    with FakeAgent(snapshot=snapshot) as agent:
        caller = Caller(lambda _scope: Session(agent.transport, AGREED))
        names = take(caller, tmp_path, [])

    assert names == ["round-001.liveheap", "round-002.liveheap"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_after_a_round_that_took_too_long_the_next_ones_keep_their_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    starts = []

    def wait(moment: float, _interval_s: float, _watch: Watch) -> None:
        nonlocal now
        now = max(now, moment)
        starts.append(now)

    clock = SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "wait_until", wait)
    with FakeAgent(snapshot=snapshot) as agent:
        caller = Caller(lambda _scope: Session(agent.transport, AGREED))
        how: dict[str, Any] = {"interval_s": 10.0, "numbers": range(1, 5), "args": {}}
        for round_ in iter_rounds(caller, tmp_path, watch=watch([]), **how):
            now += 35.0 if round_.number == 2 else 1.0

    assert starts == [0.0, 10.0, 45.0, 55.0]


def test_a_round_whose_link_drops_calls_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_DELAYS_S", (0.0,))
    troubles: list[str] = []
    with FakeAgent() as first, FakeAgent(snapshot=snapshot) as second:

        def drop(_request: Request) -> Iterator[Message]:
            first.end.close()
            yield from ()

        first.answer("snapshot", drop)
        agents = iter([first, second])
        caller = Caller(lambda _scope: Session(next(agents).transport, AGREED))
        names = take(caller, tmp_path, troubles, numbers=range(1, 3))

    assert len(names) == 2
    assert len(troubles) == 1
    assert "trying again" in troubles[0]


def test_a_host_that_never_answered_is_not_called_again(tmp_path: Path) -> None:
    calls: list[Scope] = []

    def refuse(scope: Scope) -> Session:
        calls.append(scope)
        raise SSHError("host key")

    with pytest.raises(SSHError):
        take(Caller(refuse), tmp_path, [])

    assert calls == [Scope.GRAPH]


def busy_for(times: int, **detail: Any) -> Any:
    """Answer busy so often, and then a snapshot."""
    left = [times]

    def answer(request: Request) -> Iterator[Message]:
        if left[0]:
            left[0] -= 1
            yield Failure(request.id, "busy", "others are at it", None, detail)
        else:
            yield from snapshot(request)

    return answer


def test_a_round_waits_for_a_worker_that_is_busy_and_says_so(tmp_path: Path) -> None:
    troubles: list[str] = []
    with FakeAgent(snapshot=busy_for(2, retry_after=0.01)) as agent:
        caller = Caller(lambda _scope: Session(agent.transport, AGREED))
        names = take(caller, tmp_path, troubles, numbers=range(1, 2))

    assert names == ["round-001.liveheap"]
    assert len(troubles) == 2
    assert "others are at it; trying again in 0.1 s" in troubles[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("told", [None, "soon", -1, float("inf"), 0])
def test_a_round_rests_in_bounds_whatever_the_worker_says(told: Any) -> None:
    error = CommandError("busy", "no", detail={"retry_after": told})
    assert module._rest_s(error) == module.BUSY_REST_S
    error.detail["retry_after"] = 1e9
    assert module._rest_s(error) == module.BUSY_FOR_S


def test_a_round_waits_for_a_busy_worker_no_longer_than_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_FOR_S", 0.05)
    with FakeAgent(snapshot=busy_for(1000, retry_after=0.1)) as agent:
        caller = Caller(lambda _scope: Session(agent.transport, AGREED))
        with pytest.raises(CommandError, match="others are at it"):
            take(caller, tmp_path, [])


def test_a_worker_without_a_free_session_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_REST_S", 0.01)
    troubles: list[str] = []
    refusals = [AuthenticationError("too many sessions", code="busy")]
    with FakeAgent(snapshot=snapshot) as agent:

        def call(_scope: Scope) -> Session:
            if refusals:
                raise refusals.pop()
            return Session(agent.transport, AGREED)

        names = take(Caller(call), tmp_path, troubles, numbers=range(1, 2))

    assert names == ["round-001.liveheap"]
    assert "too many sessions" in troubles[0]


def test_a_worker_that_says_no_for_another_reason_is_not_asked_again(
    tmp_path: Path,
) -> None:
    def refuse(request: Request) -> Iterator[Message]:
        yield Failure(request.id, "refused", "no memory", None, {})

    with FakeAgent(snapshot=refuse) as agent:
        caller = Caller(lambda _scope: Session(agent.transport, AGREED))
        with pytest.raises(CommandError, match="no memory"):
            take(caller, tmp_path, [])
        assert len(agent.received) == 1
