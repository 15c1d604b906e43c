"""zstd, loaded the cheap way, and used where it makes a download shorter.

`import zstandard` imports `platform`, which before Python 3.12 imports `subprocess`,
`selectors` and `threading` into the worker. Only its C extension is needed here, so
that is loaded by itself, under a name of ours.

An agent that was brought into a worker takes zstd where the worker has it loaded, and
otherwise packs nothing. To bring the extension would cost the worker a megabyte, for it
is never unloaded again.

To pack takes 2.9 ms a MiB: less than a fast link carries, and it is the worker's
machine that packs. So ranges go out packed until enough went to see that the link
hardly had to be waited for; then as they are, while that is sooner. A slow link shows
within a few ranges, when what lies between it and us is full. Each attempt that failed
makes the next one rarer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
)
from typing import Any

from liveheap.commands.spooled import compressor
from liveheap.protocol.messages import CODEC_STORED, CODEC_ZSTD

EXTENSION = "backend_c"
EVIDENCE_BYTES = 3 << 20
LESS_OFTEN = 4
RECENT = 8


def load_zstd() -> Any:
    """Return the module that has ZstdCompressor. Call it on the main thread."""
    loaded = sys.modules.get("zstandard")
    if loaded is not None:
        return loaded
    spec = PathFinder.find_spec("zstandard")
    for folder in (spec and spec.submodule_search_locations) or ():
        for suffix in EXTENSION_SUFFIXES:
            module = load_extension(f"{folder}/{EXTENSION}{suffix}")
            if module is not None:
                return module
    return __import__("zstandard")


def load_extension(path: str) -> Any:
    """Return the extension at `path`, or None if it does not load."""
    name = f"liveheap.{EXTENSION}"
    loader = ExtensionFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path)
    try:
        module = loader.create_module(spec)
        loader.exec_module(module)
    except (ImportError, OSError):
        return None
    return module


class Codecs:
    """What a command may use to pack, ready before any thread runs."""

    def __init__(self, *, as_found: bool = False) -> None:
        self._zstd = sys.modules.get("zstandard") if as_found else load_zstd()

    def packer(self) -> Packer:
        """Return a packer; its buffers live as long as it does."""
        if self._zstd is None:
            return Packer(None)
        return Packer(compressor(self._zstd))


class Packer:
    """Packs ranges where the client has them sooner so, and else leaves them.

    Call `sent` when a range has been handed over: how long that took tells the link.
    """

    def __init__(
        self,
        compress: Callable[[bytes], bytes] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compress = compress
        self._clock = clock
        self._packs = compress is not None
        self._evidence_bytes = EVIDENCE_BYTES
        self._packed_cost = 0.0
        self._raw = self._stored = 0
        self._packing_s = self._sending_s = 0.0
        self._recent: list[float] = []
        self._handed_at = 0.0

    def pack(self, raw: bytes) -> tuple[int, bytes]:
        """Return a range's codec and its bytes for the wire."""
        if not self._packs or self._compress is None:
            self._raw = len(raw)
            self._handed_at = self._clock()
            return CODEC_STORED, raw
        began = self._clock()
        packed = self._compress(raw)
        self._handed_at = self._clock()
        self._packing_s += self._handed_at - began
        self._raw += len(raw)
        self._stored += len(packed)
        return CODEC_ZSTD, packed

    def sent(self) -> None:
        """What `pack` returned has been handed over."""
        took = self._clock() - self._handed_at
        if self._compress is None:
            return
        if self._packs:
            self._sending_s += took
            if self._stored >= self._evidence_bytes:
                self._judge_packed()
        else:
            self._recent = [*self._recent[1 - RECENT :], took / max(self._raw, 1)]
            if sum(self._recent) > RECENT * self._packed_cost:
                self._evidence_bytes *= LESS_OFTEN
                self._begin(packs=True)

    def _judge_packed(self) -> None:
        """Leave it if to send all the raw bytes would take less than both do now."""
        cost = self._packing_s + self._sending_s
        self._packed_cost = cost / self._raw
        unpacked = self._sending_s * self._raw / self._stored
        self._begin(packs=unpacked >= cost)

    def _begin(self, *, packs: bool) -> None:
        self._packs = packs
        self._raw = self._stored = 0
        self._packing_s = self._sending_s = 0.0
        self._recent = []
