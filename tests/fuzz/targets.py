"""Every place where bytes of a stranger are read, as a function of those bytes.

A target raises nothing for whatever it is given, or it has found a fault: what the
product may raise there is caught here by its exact type, and what must hold besides is
asserted. `make fuzz` runs each a million times, led by coverage (run.py); the tests run
each on its seeds and on changes of them (test_fuzz_targets.py).

Checksums and proofs stop a blind fuzzer at the door. So there are two targets where it
matters: one before the door, which sees raw bytes, and one behind it, where the frame,
the checksum or the handshake is put right after the change.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peers import (
    CONVERSATION,
    IDENT,
    SESSION_ID,
    agent_side,
    client_side,
    read_recording,
)

from liveheap.agent import config
from liveheap.commands import COMMANDS
from liveheap.errors import (
    AuthenticationError,
    CommandError,
    RemoteProtocolError,
    SnapshotError,
)
from liveheap.protocol import frames, keyfile, messages
from liveheap.protocol.auth import Agreed, Ident, Scope
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.exchange import M2_HEAD, M4_HEAD, MAX_IDENT, PROOF_BYTES
from liveheap.protocol.keys import Key
from liveheap.protocol.messages import Request, Result, Role
from liveheap.snapshot import format as layout
from liveheap.snapshot.reader import Snapshot
from liveheap_client import target as target_syntax
from liveheap_client.errors import ConnectError, UsageError
from liveheap_client.render import shapes
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look
from liveheap_client.transport.greeting import MAGIC, GreetingReader

DATA = Path(__file__).parents[1] / "data"
RECORDED = read_recording("peer-v1-session.hex")
LOOKS = (Look(human=True, width=80, bold=True), Look())
LONGEST_ANSWER = M2_HEAD.size + MAX_IDENT + PROOF_BYTES + M4_HEAD.size + PROOF_BYTES
AGREED = Agreed(Scope.GRAPH, 1, IDENT, SESSION_ID)
KEY = Key(Scope.GRAPH, bytes(range(32)), 1795331220)
SETTINGS = [f"LIVEHEAP_{name.upper()}" for name in config.PARSERS]


@dataclass(frozen=True, slots=True)
class Target:
    """One room that a stranger's bytes enter."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int = 4096


def in_pieces(data: bytes) -> list[bytes]:
    """Cut bytes into uneven pieces, as a stream may bring them."""
    step = 1 + data[0] if data else 1
    return [data[start : start + step] for start in range(0, len(data), step)]


def said_by(who: str) -> list[bytes]:
    return [data for name, data in RECORDED if name == who]


def handshake_of_a_client(data: bytes) -> None:
    side = agent_side()
    _shake(side, data)
    assert not side.done or data.startswith(b"".join(said_by("client")[:2]))


def handshake_of_an_agent(data: bytes) -> None:
    side = client_side()
    side.data_to_send()
    _shake(side, data)
    assert not side.done or data.startswith(b"".join(said_by("agent")[:2]))


def _shake(side: object, data: bytes) -> None:
    said = 0
    with suppress(AuthenticationError):
        for piece in in_pieces(data):
            assert side.wanted > 0  # type: ignore[attr-defined]
            side.receive(piece)  # type: ignore[attr-defined]
            said += len(side.data_to_send())  # type: ignore[attr-defined]
            if side.done:  # type: ignore[attr-defined]
                break
    assert said <= LONGEST_ANSWER


def frames_of_a_client(data: bytes) -> None:
    _hear(_with_all_in_flight(Role.AGENT), _framed(data))


def frames_of_an_agent(data: bytes) -> None:
    """What a worker sends is heard, and then shown: to a person and as JSON."""
    for event in _hear(_with_all_in_flight(Role.CLIENT), _framed(data)):
        if isinstance(event, Result):
            show(event.shape)


def show(shape: shapes.Shape) -> None:
    json.dumps(shapes.as_json(shape), allow_nan=False)
    for look in LOOKS:
        for line in shapes.lines(shape, look=look):
            plain = line.replace("\x1b[1m", "").replace("\x1b[0m", "")
            assert plain.isprintable(), line


def _framed(data: bytes) -> bytes:
    """Put a frame's length before the bytes, unless they begin with one."""
    if len(data) >= 4 and 4 + int.from_bytes(data[:4], "little") <= len(data):
        return data
    return len(data).to_bytes(4, "little") + data


def _with_all_in_flight(role: Role) -> Connection:
    """One end of a conversation in which every id of the recording is a request."""
    end = Connection(role, agreed=AGREED)
    for number in range(1, 5):
        request = Request(number, "snapshot")
        if role is Role.CLIENT:
            end.send(request)
        else:
            end.receive_data(frames.encode(messages.write(request), frames.CLIENT))
            end.next_event()
    return end


def _hear(end: Connection, data: bytes) -> list[object]:
    heard: list[object] = []
    with suppress(RemoteProtocolError):
        for piece in in_pieces(data):
            end.receive_data(piece)
            while (event := end.next_event()) is not NEED_DATA:
                heard.append(event)
        end.receive_data(b"")
        while (event := end.next_event()) is not CLOSED:
            heard.append(event)
    return heard


def arguments_of_a_request(data: bytes) -> None:
    """A request's arguments reach a command checked, or not at all."""
    with suppress(RemoteProtocolError):
        args = frames.decode(data, frames.CLIENT)
        for command in COMMANDS:
            with suppress(CommandError):
                assert command.check(args).keys() == {p.name for p in command.params}
        messages.read(args)


def greeting_of_a_bridge(data: bytes) -> None:
    for stream in (data, MAGIC + data):
        reader = GreetingReader()
        with suppress(ConnectError):
            for piece in in_pieces(stream):
                reader.receive(piece)
                if reader.fields is not None:
                    assert isinstance(reader.fields, dict)
                    break
        visible(reader.noise)


def key_that_was_handed_out(data: bytes) -> None:
    with suppress(AuthenticationError):
        key = keyfile.read(data, "some file")
        assert keyfile.read(keyfile.write(key, remark="a\nb").encode(), "") == key


def ident_of_a_worker(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        assert str(Ident.parse(text)).count(":") >= 3


def frame_of_a_snapshot(data: bytes) -> None:
    for stream in (data, _with_right_checksums(data)):
        for truncated in (False, True):
            with suppress(SnapshotError):
                _read_all(stream, truncated)


def _read_all(data: bytes, truncated: bool) -> None:
    """Read a file that lies in memory alone."""
    with os.fdopen(os.memfd_create("snapshot"), "wb", buffering=0) as file:
        file.write(data)
        path = f"/proc/self/fd/{file.fileno()}"
        with Snapshot.open(path, allow_truncated=truncated) as snapshot:
            for piece in snapshot.iter_raw():
                assert len(piece) <= layout.MAX_RAW_LENGTH


def _with_right_checksums(data: bytes) -> bytes:
    """Let each block's CRC-32 be that of its payload, wherever the blocks lie now."""
    out, offset, head = bytearray(data), layout.FILE_HEAD.size, layout.BLOCK_HEAD
    while offset + head.size <= len(out):
        kind, codec, zero, stored, raw, _ = head.unpack_from(out, offset)
        payload = offset + head.size
        crc32 = zlib.crc32(out[payload : payload + stored])
        head.pack_into(out, offset, kind, codec, zero, stored, raw, crc32)
        offset = payload + stored
    return bytes(out)


def target_of_a_command_line(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(UsageError):
        found = target_syntax.parse(text)
        assert found.host is None or not found.host.startswith("-")
    with suppress(UsageError):
        assert target_syntax.via(text).command


def environment_of_a_worker(data: bytes) -> None:
    """What cannot be read is a complaint; it never keeps a worker from starting."""
    texts = data.decode("utf-8", "replace").split("\0")
    settings = config.read(dict(zip(SETTINGS, texts, strict=False)), {})
    assert all(isinstance(line, str) for line in settings.complaints)


def escaped_text(data: bytes) -> None:
    assert visible(data.decode("utf-8", "replace")).isprintable()
    assert visible(data.decode("latin-1")).isprintable()


def _handshake_seeds(who: str) -> list[bytes]:
    first, second = said_by(who)[:2]
    return [first + second, first]


def _frame_seeds(who: str) -> list[bytes]:
    return [data for frame in said_by(who)[2:] for data in (frame, frame[4:])]


def _argument_seeds() -> list[bytes]:
    found = [messages.write(message) for message in CONVERSATION]
    found += [
        {param.name: param.default for param in command.params} for command in COMMANDS
    ]
    return [frames.encode(fields, frames.AGENT)[4:] for fields in found]


def _snapshot_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(DATA.glob("golden-*.liveheap"))]


def _greeting_seeds() -> list[bytes]:
    fields = {"bridge": 1, "ident": "web:4711:918273:1", "scope": 2, "version": 1}
    line = json.dumps(fields).encode() + b"\n"
    return [line + b"rest", b"Welcome to web-3\r\n" + MAGIC + line]


TARGETS = (
    Target(
        "handshake of a client",
        handshake_of_a_client,
        lambda: _handshake_seeds("client"),
        256,
    ),
    Target(
        "handshake of an agent",
        handshake_of_an_agent,
        lambda: _handshake_seeds("agent"),
        1024,
    ),
    Target("frames of a client", frames_of_a_client, lambda: _frame_seeds("client")),
    Target("frames of an agent", frames_of_an_agent, lambda: _frame_seeds("agent")),
    Target("arguments of a request", arguments_of_a_request, _argument_seeds, 1024),
    Target("greeting of a bridge", greeting_of_a_bridge, _greeting_seeds, 1024),
    Target(
        "key that was handed out",
        key_that_was_handed_out,
        lambda: [keyfile.write(KEY, remark="from a test").encode()],
        400,
    ),
    Target("ident of a worker", ident_of_a_worker, lambda: [b"web:4711:918273:1"], 600),
    Target("frame of a snapshot", frame_of_a_snapshot, _snapshot_seeds, 1 << 14),
    Target(
        "target of a command line",
        target_of_a_command_line,
        lambda: [
            b"4711",
            b"me@web-1/4711",
            b"[::1]:6000",
            b"unix:/run/x",
            b"localhost/celery",
        ],
        300,
    ),
    Target(
        "environment of a worker",
        environment_of_a_worker,
        lambda: [b"1\0/run/x\x00127.0.0.1:99\0values\x0033,1000\0/tmp\x000.3\0yes"],
        400,
    ),
    Target("escaped text", escaped_text, lambda: ["a\x1b[31m\u202e\n".encode()], 300),
)
