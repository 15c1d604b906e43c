"""What an eavesdropper would have: every byte that passes, packed or not.

`Wiretap` stands between clients and an agent's socket and keeps what goes each way.
`unpacked` adds to bytes what is compressed inside them, for a search.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import select
import socket
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"
ENCODINGS = ("utf-8", "utf-16-le", "utf-32-le")
MOST_FOUND = 10


class Wiretap:
    """A socket that leads to an agent's, and a copy of all that went through."""

    def __init__(self, agent: Path, directory: Path) -> None:
        self.path = directory / "tap.sock"
        self.heard = bytearray()
        self._agent = agent
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self.path.chmod(0o600)
        self._listening.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self._agent))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client, agent)).start()

    def _carry(self, client: socket.socket, agent: socket.socket) -> None:
        """Move bytes both ways; what each side said is kept in one piece."""
        other, said = {client: agent, agent: client}, {client: b"", agent: b""}
        with client, agent, contextlib.suppress(OSError):
            while other:
                for source in select.select([*other], [], [])[0]:
                    data = source.recv(1 << 18)
                    said[source] += data
                    if data:
                        other[source].sendall(data)
                    else:
                        other.pop(source).shutdown(socket.SHUT_WR)
        with self._lock:
            self.heard += b"".join(said.values())


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and what each compressed stream in them holds."""
    yield data
    for piece in _packed(data, ZSTD):
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(piece)
    for piece in _packed(data, GZIP):
        with contextlib.suppress(zlib.error, OSError, EOFError):
            yield gzip.decompress(piece)


def _packed(data: bytes, magic: bytes) -> Iterator[bytes]:
    at = data.find(magic)
    while at >= 0:
        yield data[at:]
        at = data.find(magic, at + 1)


def found(word: str | bytes, *data: bytes) -> list[bytes]:
    """Return every place of a word, in any encoding, with what stands beside it."""
    encoded = [] if isinstance(word, bytes) else map(word.encode, ENCODINGS)
    needles = [word] if isinstance(word, bytes) else list(encoded)
    places = []
    for text in (text for each in data for text in unpacked(each)):
        for needle in needles:
            at = text.find(needle)
            while at >= 0 and len(places) < MOST_FOUND:
                places.append(text[max(0, at - 60) : at + 60])
                at = text.find(needle, at + 1)
    return places


def below(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, hidden ones too, and what they hold."""
    held = {}
    for root, _, names in os.walk(folder):
        for path in (Path(root, name) for name in names):
            if path.is_file():
                with contextlib.suppress(FileNotFoundError):  # an agent's, that goes
                    held[str(path.relative_to(folder))] = path.read_bytes()
    return held


def spellings(token: bytes) -> list[bytes]:
    """Return the ways in which a token might be written somewhere."""
    import base64

    plain = base64.b64encode(token).rstrip(b"=")
    url = base64.urlsafe_b64encode(token).rstrip(b"=")
    return [token, token.hex().encode(), token.hex().upper().encode(), plain, url]
