"""zstd, loaded the cheap way, and told what a record stream is like.

`import zstandard` imports `platform`, which before Python 3.12 imports `subprocess`,
`selectors` and `threading` into the worker. Only its C extension is needed here, so
that is loaded by itself, under a name of ours.

An agent that was brought into a worker takes zstd where the worker has it loaded, and
otherwise packs nothing: its frames are zstd, too, of blocks as they are. To bring the
extension would cost the worker a megabyte, for it is never unloaded again.

A frame is level 1 with a larger table and a shorter match: as fast (2.9 ms a MiB), and
a tenth smaller (5.2 bytes an object instead of 5.8), for the records of a graph repeat
in short pieces. From level 2 on it takes twice as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
)
from typing import Any

MAGIC = 0xFD2FB528
ONE_SEGMENT = 0xA0  # one segment, a content size of four bytes, no checksum
LARGEST_BLOCK = 1 << 17
LEVEL = 1
FITTED = {"window_log": 19, "hash_log": 15, "min_match": 6}
EXTENSION = "backend_c"


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

    def compressor(self) -> Callable[[bytes], bytes]:
        """Return a packer; its buffers live as long as it does."""
        compress: Callable[[bytes], bytes]
        if self._zstd is None:
            return as_it_is
        fitted = self._zstd.ZstdCompressionParameters.from_level(LEVEL, **FITTED)
        compress = self._zstd.ZstdCompressor(compression_params=fitted).compress
        return compress


def as_it_is(raw: bytes) -> bytes:
    """Return bytes as a zstd frame in which nothing is compressed."""
    parts = [MAGIC.to_bytes(4, "little"), bytes([ONE_SEGMENT])]
    parts.append(len(raw).to_bytes(4, "little"))
    begins = range(0, len(raw), LARGEST_BLOCK) or [0]
    for begin in begins:
        block = raw[begin : begin + LARGEST_BLOCK]
        is_last = begin == begins[-1]
        parts += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    return b"".join(parts)
