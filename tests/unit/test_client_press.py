"""What came as it was is packed on its way into a file, in order and bounded."""

import os
import threading
from contextlib import closing

import pytest
import zstandard

from liveheap.protocol.messages import CODEC_STORED, CODEC_ZSTD
from liveheap_client.commands import press
from liveheap_client.commands.press import Press


class Sink:
    """Notes what it is handed."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int, bytes]] = []

    def __call__(self, codec: int, raw_length: int, data: bytes) -> None:
        self.taken.append((codec, raw_length, data))

    def raw(self) -> bytes:
        return b"".join(map(unpacked, self.taken))


def unpacked(block: tuple[int, int, bytes]) -> bytes:
    codec, raw_length, data = block
    if codec == CODEC_ZSTD:
        data = zstandard.ZstdDecompressor().decompress(data, raw_length)
    assert len(data) == raw_length
    return data


def test_chunks_are_packed_and_keep_their_order() -> None:
    parts = [bytes([number]) * (1 << 16) for number in range(50)]
    sink = Sink()
    with closing(Press(sink)) as pressing:
        for part in parts:
            pressing.chunk(CODEC_STORED, len(part), part)
        pressing.flush()
    assert sink.raw() == b"".join(parts)
    assert {codec for codec, _, _ in sink.taken} == {CODEC_ZSTD}


def test_what_came_packed_is_handed_on_as_it_is_and_not_before_its_turn() -> None:
    raw = bytes(1 << 16)
    packed = zstandard.ZstdCompressor().compress(raw)
    sink = Sink()
    with closing(Press(sink)) as pressing:
        pressing.chunk(CODEC_STORED, 3, b"abc")
        pressing.chunk(CODEC_ZSTD, len(raw), packed)
    assert sink.raw() == b"abc" + raw
    assert sink.taken[1] == (CODEC_ZSTD, len(raw), packed)


def test_what_does_not_become_smaller_stays_as_it_is() -> None:
    noise, sink = os.urandom(1 << 12), Sink()
    with closing(Press(sink)) as pressing:
        pressing.chunk(CODEC_STORED, len(noise), noise)
        pressing.flush()
    assert sink.taken == [(CODEC_STORED, len(noise), noise)]


def test_who_sends_faster_than_it_packs_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_pack, packed = threading.Event(), Press._pack

    def slowly(self: Press, data: bytes) -> press.Packed:
        assert may_pack.wait(30)
        return packed(self, data)

    monkeypatch.setattr(Press, "_pack", slowly)
    sink = Sink()
    with closing(Press(sink)) as pressing:
        for _ in range(press.MOST_WAITING):
            pressing.chunk(CODEC_STORED, 3, b"abc")
        assert not sink.taken
        threading.Timer(0.05, may_pack.set).start()
        pressing.chunk(CODEC_STORED, 3, b"abc")
        assert may_pack.is_set()
        assert sink.taken


def test_a_disk_that_is_full_is_told_in_the_end() -> None:
    def full(*_block: object) -> None:
        raise OSError(28, "No space left on device")

    with closing(Press(full)) as pressing:
        pressing.chunk(CODEC_STORED, 3, b"abc")
        with pytest.raises(OSError, match="space"):
            pressing.flush()
