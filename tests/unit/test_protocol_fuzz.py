"""Whatever a peer sends, only our own errors come out.

The same examples on every run; with LIVEHEAP_FUZZ=n it is n times as many, and new
ones each time.
"""

import math
import os
from contextlib import suppress

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import (
    CONVERSATION,
    agent_side,
    client_side,
    connected,
    read_recording,
    shake,
)

from liveheap.errors import AuthenticationError, RemoteProtocolError
from liveheap.protocol import frames, messages
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection, Role
from liveheap.protocol.messages import Cancel, Request

RECORDED = read_recording("peer-v1-session.hex")
HANDSHAKE_OF = {
    who: b"".join(data for name, data in RECORDED[:4] if name == who)
    for who in ("client", "agent")
}
FRAMES_OF = {
    who: [data for name, data in RECORDED[4:] if name == who]
    for who in ("client", "agent")
}

FUZZ = int(os.environ.get("LIVEHEAP_FUZZ", "1"))


def examples(count):
    """How often to run a test."""
    return settings(
        max_examples=count * FUZZ,
        deadline=None,
        derandomize=FUZZ == 1,
        database=None,
    )


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 3), inner, max_size=6)
    ),
    max_leaves=30,
)
known_fields = {rule.name for kind in messages.KINDS.values() for rule in kind.fields}
shape_fields = {"fields", "columns", "rows", "root", "label", "children", "header"}
field_names = st.sampled_from(sorted(known_fields | shape_fields | {"trailer"}))
kinds = st.sampled_from([kind.word for kind in messages.KINDS.values()])
shapes = st.sampled_from(["record", "table", "tree", "blob"])
messages_like = st.builds(
    lambda fields, kind, shape, number: {
        **fields,
        "kind": kind,
        "shape": shape,
        "id": number,
    },
    st.dictionaries(field_names, plain, max_size=8),
    kinds | plain,
    shapes | plain,
    st.integers(0, 3) | plain,
)
changes = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 255), st.sampled_from("xdi")),
    min_size=1,
    max_size=4,
)


def mutated(data, edits):
    """Bytes with some exchanged, dropped or put in."""
    data = bytearray(data)
    for position, byte, how in edits:
        place = position % (len(data) + 1)
        if how == "i":
            data.insert(place, byte)
        elif place < len(data):
            if how == "d":
                del data[place]
            else:
                data[place] = byte
    return bytes(data)


def hear_all(end, data):
    """Feed an end in uneven pieces until it has no more to say."""
    with suppress(RemoteProtocolError):
        for start in range(0, len(data), 97):
            end.receive_data(data[start : start + 97])
            while end.next_event() is not NEED_DATA:
                pass
        end.receive_data(b"")
        while end.next_event() is not CLOSED:
            pass


def both_ends():
    """Both ends, with every id of the recording in flight."""
    client, agent = connected()
    for number in range(1, 5):
        agent.receive_data(client.send(Request(number, "snapshot")))
        agent.next_event()
    return client, agent


@examples(300)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_handshake(data):
    for side in (client_side(), agent_side()):
        side.data_to_send()
        with suppress(AuthenticationError):
            side.receive(data or b"\0")
        assert not side.done
        assert len(side.data_to_send()) in (0, 44, 95)


@examples(300)
@given(changes)
def test_a_recorded_handshake_with_bytes_changed(edits):
    for side, who in ((agent_side(), "client"), (client_side(), "agent")):
        side.data_to_send()
        changed = mutated(HANDSHAKE_OF[who], edits)
        with suppress(AuthenticationError):
            side.receive(changed)
        if side.done:
            assert changed.startswith(HANDSHAKE_OF[who])


@examples(300)
@given(st.binary(max_size=400))
def test_any_bytes_as_a_frames_body(data):
    for limits in (frames.CLIENT_FIRST, frames.AGENT):
        for body in (data, b"\x81\xa1a" + data):
            with suppress(RemoteProtocolError):
                assert isinstance(frames.decode(body, limits), dict)


@examples(300)
@given(st.binary(max_size=400))
def test_any_bytes_as_a_stream(data):
    for end in both_ends():
        hear_all(end, data)
        framed = len(data).to_bytes(4, "little") + data
        hear_all(both_ends()[0], framed)


@examples(300)
@given(st.integers(0, 100), changes)
def test_recorded_frames_with_bytes_changed(which, edits):
    for end, who in zip(both_ends(), ("agent", "client"), strict=True):
        recorded = FRAMES_OF[who]
        data = recorded[which % len(recorded)]
        changed = mutated(data[4:], edits)
        hear_all(end, len(changed).to_bytes(4, "little") + changed + data)


@examples(100)
@given(messages_like)
def test_any_map_as_a_message(wire):
    with suppress(RemoteProtocolError):
        messages.read(wire)
    data = msgpack.packb(wire)
    for end in both_ends():
        hear_all(end, len(data).to_bytes(4, "little") + data)


@examples(100)
@given(st.dictionaries(st.text(max_size=8), plain, max_size=8))
def test_what_can_be_encoded_can_be_decoded_to_the_same(fields):
    try:
        data = frames.encode(fields, frames.AGENT)
    except frames.LocalProtocolError:
        assert _has_what_is_refused(fields)
    else:
        assert frames.decode(data[4:], frames.AGENT) == fields


@examples(50)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_a_conversation_in_any_pieces_is_the_same_conversation(sizes):
    client, agent = client_side(), agent_side()
    shake(client, agent)
    ends = {
        "client": Connection(Role.AGENT, handshake=agent),
        "agent": Connection(Role.CLIENT, handshake=client),
    }
    heard = []
    for (who, data), message in zip(RECORDED[4:], CONVERSATION, strict=True):
        speaker = ends["agent" if who == "client" else "client"]
        assert speaker.send(message) == data
        start = 0
        while start < len(data):
            size = sizes[(start + len(heard)) % len(sizes)]
            ends[who].receive_data(data[start : start + size])
            start += size
            event = ends[who].next_event()
            if event is not NEED_DATA:
                heard.append(event)
    assert heard == [*CONVERSATION]
    assert any(isinstance(event, Cancel) for event in heard)


def _iter_parts(value):
    yield value
    if isinstance(value, dict):
        yield from (not isinstance(key, str) for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _iter_parts(inner)


def _has_what_is_refused(fields):
    """Whether there is a float that is not finite, or a key that is not text."""
    return any(
        part is True or (isinstance(part, float) and not math.isfinite(part))
        for part in _iter_parts(fields)
    )
