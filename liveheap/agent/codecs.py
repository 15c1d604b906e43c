"""zstd and SHA-256, loaded the cheap way.

`import zstandard` imports `platform`, which before Python 3.12 imports `subprocess`,
`selectors` and `threading` into the worker. Only its C extension is needed here, so
that is loaded by itself, under a name of ours. The hash comes from CPython's own
module: `hashlib` brings OpenSSL, 4 MB.
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

LEVEL = 1
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


def load_sha256() -> Callable[[], Any]:
    """Return a constructor of SHA-256. Call it on the main thread."""
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            return __import__(name).sha256  # type: ignore[no-any-return]
        except ImportError:
            continue
    raise ImportError("this Python has no SHA-256")


class Codecs:
    """What a command may use to pack and to hash, ready before any thread runs."""

    def __init__(self) -> None:
        self._zstd = load_zstd()
        self.sha256 = load_sha256()

    def compressor(self) -> Callable[[bytes], bytes]:
        """Return a packer; its buffers live as long as it does."""
        compress: Callable[[bytes], bytes]
        compress = self._zstd.ZstdCompressor(level=LEVEL).compress
        return compress
