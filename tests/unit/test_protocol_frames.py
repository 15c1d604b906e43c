"""Frames: what is refused, and that nothing is built or buffered before it is."""

import math
import struct
import tracemalloc

import msgpack
import pytest

from liveheap.errors import LocalProtocolError, MessageTooLarge, RemoteProtocolError
from liveheap.protocol import frames
from liveheap.protocol.frames import AGENT, CLIENT, CLIENT_FIRST, FrameBuffer, Limits


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


def refused(body: bytes, limits: Limits = CLIENT) -> str:
    """Why a body is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        frames.decode(body, limits)
    return str(caught.value)


def nested(depth: int, inner: bytes = b"\xc0") -> bytes:
    """A map whose value is an array in an array ..., `depth` containers in all."""
    return b"\x81\xa1a" + b"\x91" * (depth - 1) + inner


PLAIN = {
    "kind": "request",
    "args": {
        "numbers": [0, 1, -1, 127, 128, -32, -33, 2**32, 2**64 - 1, -(2**63), 0.5],
        "texts": ["", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "ü€😀", "x" * 65536],
        "binaries": [b"", b"x" * 255, b"x" * 256, b"x" * 65536],
        "arrays": [[], list(range(15)), list(range(16)), list(range(300))],
        "maps": {str(number): None for number in range(20)},
        "truths": [True, False, None],
    },
}


def test_a_frame_is_read_whole_and_byte_by_byte_and_with_bytes_trailing():
    data = frames.encode(PLAIN, CLIENT)
    whole = FrameBuffer(data)
    assert whole.next_frame(CLIENT) == PLAIN
    assert whole.next_frame(CLIENT) is None
    in_bytes = FrameBuffer()
    for position in range(len(data) - 1):
        in_bytes.feed(data[position : position + 1])
        if position < 40 or position > len(data) - 40:
            assert in_bytes.next_frame(CLIENT) is None
    in_bytes.feed(data[-1:])
    assert in_bytes.next_frame(CLIENT) == PLAIN
    trailing = FrameBuffer(data + data[:7])
    assert trailing.next_frame(CLIENT) == PLAIN
    assert trailing.next_frame(CLIENT) is None
    assert len(trailing) == 7


@pytest.mark.parametrize("step", [7, 4095, 4096, 4097, 100_000])
def test_a_large_frame_in_pieces_of_any_size_is_the_same(step):
    fields = {"kind": "chunk", "data": bytes(range(256)) * 1200}
    data = frames.encode(fields, AGENT) * 2
    buffer, seen = FrameBuffer(), []
    for begin in range(0, len(data), step):
        buffer.feed(data[begin : begin + step])
        while (frame := buffer.next_frame(AGENT)) is not None:
            seen.append(frame)
    assert seen == [fields] * 2
    assert len(buffer) == 0


def test_a_frame_in_crumbs_costs_little_more_than_it_holds():
    data = frames.encode({"data": bytes(40_000)}, AGENT)
    buffer = FrameBuffer()
    tracemalloc.start()
    try:
        for begin in range(0, len(data) - 1, 2):
            buffer.feed(data[begin : begin + 2])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.3 * len(data)


def test_two_frames_in_one_piece_are_two():
    small = {"kind": "cancel", "id": 1}
    both = FrameBuffer(frames.encode(small, CLIENT) * 2)
    assert [both.next_frame(CLIENT) for _ in range(3)] == [small, small, None]


@pytest.mark.parametrize("limits", [CLIENT_FIRST, CLIENT, AGENT])
@pytest.mark.parametrize("beyond", ["0", "one over", "0xFFFFFFFF"])
def test_a_length_out_of_bounds_is_refused_from_its_four_bytes(limits, beyond):
    length = {"0": 0, "one over": limits.frame + 1, "0xFFFFFFFF": 0xFFFFFFFF}[beyond]
    buffer = FrameBuffer(struct.pack("<I", length)[:3])
    assert buffer.next_frame(limits) is None
    buffer.feed(struct.pack("<I", length)[3:])
    with pytest.raises(RemoteProtocolError, match="expected 1 to"):
        buffer.next_frame(limits)


@pytest.mark.parametrize("limits", [CLIENT_FIRST, CLIENT])
def test_a_frame_of_exactly_the_limit_is_read(limits):
    overhead = len(msgpack.packb({"x": b""})) + (1 if limits is CLIENT_FIRST else 3)
    data = frames.encode({"x": bytes(limits.frame - overhead)}, limits)
    assert len(data) == 4 + limits.frame
    assert FrameBuffer(data).next_frame(limits) is not None
    with pytest.raises(MessageTooLarge):
        frames.encode({"x": bytes(limits.frame - overhead + 1)}, limits)


def test_a_handshake_sent_again_is_a_length_above_any_limit():
    with pytest.raises(RemoteProtocolError):
        FrameBuffer(b"\x93LHEAP\r\n" + bytes(40)).next_frame(AGENT)


@pytest.mark.parametrize(
    "body", [b"\xc0", b"\x90", b"\x01", b"\xa1x", b"\xc1", b"\xcb"]
)
def test_a_frame_that_is_not_a_map_is_refused(body):
    assert refused(body) == "a frame is one map"


def test_a_body_cut_anywhere_is_refused():
    body = msgpack.packb(
        {"kind": "request", "args": {"a": [1.5, "text", b"bin", 70000]}}
    )
    for end in range(len(body)):
        refused(body[:end])


def test_bytes_after_the_map_are_refused():
    assert "disagree" in refused(msgpack.packb({}) + b"\xc0")


@pytest.mark.parametrize("limits", [CLIENT, AGENT])
def test_the_depth_allowed_is_read_and_one_more_is_refused(limits):
    frames.decode(nested(limits.depth), limits)
    assert refused(nested(limits.depth + 1), limits) == (
        f"a frame deeper than {limits.depth}"
    )


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"])
def test_a_depth_of_10000_is_refused(opening):
    assert "deeper" in refused(b"\x81\xa1a" + opening * 10_000 + b"\xc0")


@pytest.mark.parametrize("limits", [CLIENT, AGENT])
@pytest.mark.parametrize(
    "announcement",
    [
        b"\xdf\x80\x00\x00\x00",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x80\x00\x00\x00",
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_an_announced_multitude_costs_nothing(announcement, limits):
    body = b"\x81\xa1a" + announcement + bytes(100)
    tracemalloc.start()
    try:
        assert "items" in refused(body, limits)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_announcements_inside_each_other_cost_nothing():
    limits = AGENT
    body = b"\x81\xa1a" + b"\xdd\x00\x07\xa1\x00" * 60 + bytes(1000)
    tracemalloc.start()
    try:
        assert "items" in refused(body, limits)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_items_are_counted_over_the_whole_frame():
    half = list(range(CLIENT.items // 2 - 2))
    frames.decode(msgpack.packb({"a": half, "b": half}), CLIENT)
    more = [*half, 0]
    assert "items" in refused(msgpack.packb({"a": half, "b": more}))


@pytest.mark.parametrize(
    "extension",
    [
        msgpack.packb(msgpack.ExtType(5, b"x" * length))
        for length in (1, 2, 4, 8, 16, 3, 300, 70000)
    ]
    + [msgpack.packb(msgpack.Timestamp(1, 2))],
    ids=len,
)
def test_extension_types_are_refused(extension):
    assert "extension" in refused(b"\x81\xa1a" + extension)


@pytest.mark.parametrize(
    "bad", [b"\xa1\xff", b"\xa2\xc3\x28", b"\xd9\x03\xed\xa0\x80", b"\xa1\x80"]
)
def test_text_that_is_not_utf_8_is_refused_as_value_and_as_key(bad):
    assert "not msgpack" in refused(b"\x81\xa1a" + bad)
    assert "not msgpack" in refused(b"\x81" + bad + b"\xc0")


@pytest.mark.parametrize("key", [b"\x01", b"\xc0", b"\xc4\x01a", b"\x90", b"\x80"])
def test_keys_that_are_not_text_are_refused(key):
    assert refused(b"\x81" + key + b"\xc0") == "a map's keys are text"
    assert refused(b"\x81\xa1a\x81" + key + b"\xc0") == "a map's keys are text"


def test_a_key_given_twice_is_refused_at_any_depth():
    twice = b"\x82\xa1a\x01\xa1a\x02"
    assert refused(twice) == "a map has a key twice"
    assert refused(b"\x81\xa1a\x91" + twice) == "a map has a key twice"


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("layout", [">Bf", ">Bd"])
def test_floats_that_are_not_finite_are_refused(value, layout):
    first = 0xCA if layout == ">Bf" else 0xCB
    assert "finite" in refused(b"\x81\xa1a" + struct.pack(layout, first, value))
    with pytest.raises(LocalProtocolError, match="finite"):
        frames.encode({"a": value}, CLIENT)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.7976931348623157e308, -1.5])
def test_every_finite_float_arrives(value):
    body = frames.encode({"a": value}, CLIENT)[4:]
    assert frames.decode(body, CLIENT) == {"a": value}


def test_text_longer_than_the_limit_is_refused():
    frames.decode(msgpack.packb({"a": "x" * CLIENT.text}), CLIENT)
    assert "text longer" in refused(msgpack.packb({"a": "x" * (CLIENT.text + 1)}))
    with pytest.raises(MessageTooLarge):
        frames.encode({"a": "x" * (CLIENT.text + 1)}, CLIENT)


@pytest.mark.parametrize(
    "unsendable",
    [{"a": object()}, {"a": 2**64}, {"a": -(2**63) - 1}, {"a": {1, 2}}, {"a": 1j}],
)
def test_what_msgpack_has_no_word_for_is_our_own_fault(unsendable):
    with pytest.raises(LocalProtocolError):
        frames.encode(unsendable, CLIENT)


def test_a_value_that_holds_itself_is_our_own_fault():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError):
        frames.encode({"a": endless}, CLIENT)


def test_what_is_too_large_to_send_is_told_apart_from_what_is_wrong():
    with pytest.raises(MessageTooLarge):
        frames.encode({"a": [0] * (CLIENT.items + 1)}, CLIENT)


def test_a_lone_surrogate_is_sent_as_its_escape():
    body = frames.encode({"a": "\ud800x"}, CLIENT)[4:]
    assert frames.decode(body, CLIENT) == {"a": "\\ud800x"}


def test_every_first_byte_is_scanned_as_msgpack_reads_it():
    texts = b"".join(b"\xa1" + bytes((97 + n,)) + b"\xc0" for n in range(8))
    for first in range(256):
        for tail in (b"", bytes(8), b"\x01" * 8, texts):
            body = b"\x81\xa1a" + bytes((first,)) + tail
            try:
                expected = msgpack.unpackb(body, strict_map_key=False)
            except (ValueError, TypeError):
                expected = None
            try:
                assert frames.decode(body, CLIENT) == expected
            except RemoteProtocolError:
                scanned_out = expected is None or _not_for_us(expected["a"])
                assert scanned_out, (first, tail)


def _not_for_us(value: object) -> bool:
    return isinstance(value, (msgpack.ExtType, msgpack.Timestamp)) or (
        isinstance(value, dict) and not all(type(key) is str for key in value)
    )


def test_a_buffer_goes_on_after_frames_and_gives_its_memory_back():
    data = frames.encode({"a": bytes(100_000)}, CLIENT)
    buffer = FrameBuffer()
    for _ in range(50):
        buffer.feed(data)
        assert buffer.next_frame(CLIENT) is not None
    assert len(buffer) == 0
