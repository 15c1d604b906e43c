"""When a range of a snapshot is packed for its way, and when it goes as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from contract.agent_under_test import session_of
from contract.fake_heap import FakeHeap
from contract.minimal_client import MinimalClient

from liveheap.agent.codecs import Codecs, Packer
from liveheap.agent.service import Agent
from liveheap.protocol.messages import CODEC_STORED, CODEC_ZSTD

MIB = 1 << 20
RANGE = bytes(MIB)
PACKING_S = 0.003


@dataclass
class Link:
    """A link of some speed behind a buffer, and a packer that halves; no real time."""

    bytes_per_s: float
    buffered: int = 2 * MIB
    now: float = 0.0
    arrives_at: float = 0.0
    codecs: list[int] = field(default_factory=list)

    def compress(self, raw: bytes) -> bytes:
        self.now += PACKING_S
        return raw[: len(raw) // 2]

    def carry(self, packer: Packer, ranges: int) -> list[int]:
        """Send ranges; return the codec of each."""
        codecs = []
        for _ in range(ranges):
            codec, data = packer.pack(RANGE)
            begins = max(self.arrives_at, self.now)
            self.arrives_at = begins + len(data) / self.bytes_per_s
            lag = self.buffered / self.bytes_per_s
            self.now = max(self.now, self.arrives_at - lag)
            packer.sent()
            codecs.append(codec)
        return codecs

    def packer(self) -> Packer:
        return Packer(self.compress, clock=lambda: self.now)


def test_over_a_link_faster_than_the_packer_ranges_soon_go_as_they_are():
    link = Link(bytes_per_s=1e9)
    codecs = link.carry(link.packer(), 200)
    assert codecs[0] == CODEC_ZSTD
    assert codecs[10:] == [CODEC_STORED] * 190


@pytest.mark.parametrize("bytes_per_s", [1e5, 1e6, 2e7])
def test_over_a_slow_link_everything_is_packed(bytes_per_s: float):
    link = Link(bytes_per_s)
    assert link.carry(link.packer(), 200) == [CODEC_ZSTD] * 200


def test_a_link_in_between_costs_a_few_attempts_that_become_rarer():
    link = Link(bytes_per_s=2e8)
    codecs = link.carry(link.packer(), 1000)
    assert 0 < codecs.count(CODEC_STORED) <= 40
    assert CODEC_STORED not in codecs[-300:]


def test_a_link_that_becomes_slow_gets_packed_ranges_again():
    link = Link(bytes_per_s=1e9)
    packer = link.packer()
    assert link.carry(packer, 50)[-1] == CODEC_STORED
    link.bytes_per_s = 1e6
    codecs = link.carry(packer, 50)
    assert CODEC_STORED not in codecs[5:]


def test_where_nothing_packs_a_stream_is_stored(agent: Agent, heap: FakeHeap):
    codecs = Codecs(as_found=True)
    codecs._zstd = None
    agent.codecs = codecs
    heap.raw(RANGE * 2)
    with session_of(agent) as client:
        assert chunks_of(client) == [(CODEC_STORED, RANGE)] * 2


def chunks_of(client: MinimalClient) -> list[tuple[int, bytes]]:
    _, chunks, _ = client.stream("snapshot")
    return [(each.codec, each.data) for each in chunks]
