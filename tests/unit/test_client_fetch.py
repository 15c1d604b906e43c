"""Fetching a snapshot into a file, over memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_agent import AGREED, FakeAgent

from liveheap.errors import CommandError, RemoteProtocolError, SnapshotError
from liveheap.protocol.messages import (
    Chunk,
    Failure,
    Message,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Blob
from liveheap_client.caller import Caller
from liveheap_client.commands.fetch import (
    Fetched,
    default_path,
    fetch,
    refuse_overwrite,
)
from liveheap_client.errors import ClientError, ConnectionLost, UsageError
from liveheap_client.session import Session

RAW = b"no records, but bytes" * 10
HEADER = {"pid": 4711}
TRAILER = {
    "complete": True,
    "reason": None,
    "raw_length": len(RAW),
    "raw_sha256": hashlib.sha256(RAW).hexdigest(),
}


def snapshot(request: Request) -> Iterator[Message]:
    yield Progress(request.id, "header", detail={"header": HEADER})
    half = len(RAW) // 2
    yield Chunk(request.id, 0, half, 0, RAW[:half])
    yield Progress(request.id, "walk", 77)
    yield Chunk(request.id, half, len(RAW) - half, 0, RAW[half:])
    yield Result(request.id, Blob(HEADER, TRAILER))


def calling(agent: FakeAgent) -> Caller:
    return Caller(lambda _scope: Session(agent.transport, AGREED))


def test_a_snapshot_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    seen: list[Fetched] = []
    path = tmp_path / "x.liveheap"
    with FakeAgent(snapshot=snapshot) as agent:
        blob = fetch(calling(agent), path, on_progress=seen.append)

    assert blob.trailer == TRAILER
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert seen[-1] == Fetched("snapshot", 77, len(RAW), len(RAW))


def test_a_bad_checksum_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    def lying(request: Request) -> Iterator[Message]:
        for message in snapshot(request):
            if isinstance(message, Result):
                bad = {**TRAILER, "raw_sha256": "0" * 64}
                yield Result(request.id, Blob(HEADER, bad))
            else:
                yield message

    with FakeAgent(snapshot=lying) as agent, pytest.raises(SnapshotError):
        fetch(calling(agent), tmp_path / "x.liveheap")

    assert not (tmp_path / "x.liveheap").exists()


def test_a_gap_between_chunks_is_the_agent_s_fault(tmp_path: Path) -> None:
    def gap(request: Request) -> Iterator[Message]:
        yield Progress(request.id, "header", detail={"header": HEADER})
        yield Chunk(request.id, 5, 1, 0, b"x")

    with FakeAgent(snapshot=gap) as agent, pytest.raises(RemoteProtocolError):
        fetch(calling(agent), tmp_path / "x.liveheap")


def test_the_agent_s_no_leaves_nothing_behind(tmp_path: Path) -> None:
    def refuse(request: Request) -> Iterator[Message]:
        yield Progress(request.id, "header", detail={"header": HEADER})
        yield Failure(request.id, "failed", "the child was killed")

    with FakeAgent(snapshot=refuse) as agent, pytest.raises(CommandError):
        fetch(calling(agent), tmp_path / "x.liveheap")

    assert list(tmp_path.iterdir()) == []


def test_an_agent_without_leases_has_one_chance_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with FakeAgent() as agent:

        def vanish(request: Request) -> Iterator[Message]:
            yield Progress(request.id, "header", detail={"header": HEADER})
            yield Chunk(request.id, 0, 10, 0, RAW[:10])
            agent.end.close()

        agent.answer("snapshot", vanish)
        with pytest.raises(ConnectionLost):
            fetch(calling(agent), tmp_path / "x.liveheap")

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with FakeAgent(snapshot=snapshot) as agent, pytest.raises(ClientError) as caught:
        fetch(calling(agent), tmp_path / "no" / "x.liveheap")

    assert "cannot write" in str(caught.value)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").touch()

    for name in ("dangling", "file", "."):
        with pytest.raises(UsageError):
            refuse_overwrite(tmp_path / name)
    refuse_overwrite(tmp_path / "new")


def test_the_default_name_holds_nothing_of_the_agent_s() -> None:
    assert default_path(4711).name.startswith("4711-2")
    assert default_path(4711).parent == Path()


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")

    for path in (Path("/dev/null"), Path("-"), link):
        with pytest.raises(UsageError):
            refuse_overwrite(path, replace=True)
    refuse_overwrite(tmp_path / "new", replace=True)
