"""A crowd of hostile clients, each at the door again as soon as it is shown out.

    python tests/crowd.py SOCKET TOKEN_FILE NUMBER

Runs until its standard input ends, then says as JSON what it did. One thread and one
poll drive all of them, so that the crowd's own work does not slow the worker down more
than its connections do. The kinds take turns:

- `slow` sends its hello byte by byte, one every half second;
- `half-open` says hello and nothing more, or nothing at all;
- `garbage` speaks HTTP, TLS, or zeros;
- `huge` has the token, and announces a frame of 4 GiB;
- `wrong` proves that it has another token.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import MAGIC, ClientHandshake, Scope

M1 = MAGIC + bytes([1, 2, 0, 0]) + bytes(4) + b"\xc1" * 32
NOISE = (
    b"GET / HTTP/1.1\r\n\r\n",
    bytes.fromhex("1603010200010001fc0303"),
    bytes(4096),
)
KINDS = ("slow", "half-open", "garbage", "huge", "wrong")
BYTE_EVERY_S = 0.5
AGAIN_AFTER_S = 0.01


class Hostile:
    """One of them: a socket that comes back, and a script of what it says."""

    def __init__(self, number: int, path: str, token: bytes) -> None:
        self.kind = KINDS[number % len(KINDS)]
        self.times = 0
        self._number = number
        self._path = path
        self._token = token
        self._socket: socket.socket | None = None
        self._handshake: ClientHandshake | None = None
        self._left = b""
        self.due = 0.0

    @property
    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def go(self) -> None:
        """Do what is due: connect, or say the next thing."""
        self.due = time.monotonic() + BYTE_EVERY_S
        try:
            if self._socket is None:
                self._connect()
            elif self.kind == "slow" and self._left:
                self._say(self._left[:1])
                self._left = self._left[1:]
        except OSError:
            self.leave()

    def hear(self) -> None:
        """Take what came; leave if that was the end."""
        assert self._socket is not None
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if not data:
                self.leave()
            elif self._handshake is not None:
                self._go_on(data)
        except OSError:
            self.leave()

    def leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._handshake = None
        self.due = time.monotonic() + AGAIN_AFTER_S

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self.times += 1
        if self.kind == "slow":
            self._left = M1
        elif self.kind == "half-open" and self._number % 2:
            self._say(M1)
        elif self.kind == "garbage":
            self._say(NOISE[self.times % len(NOISE)])
        elif self.kind == "huge":
            self._handshake = ClientHandshake(self._token, Scope.READ)
            self._say(self._handshake.data_to_send())
        elif self.kind == "wrong":
            self._say(M1 + bytes(32))

    def _go_on(self, data: bytes) -> None:
        assert self._handshake is not None
        try:
            self._handshake.receive(data)
        except AuthenticationError:
            self.leave()
            return
        self._say(self._handshake.data_to_send())
        if self._handshake.done:
            self._say(b"\xff\xff\xff\xff" + bytes(4096))
            self._handshake = None

    def _say(self, data: bytes) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError):
            self._socket.send(data)


def besiege(crowd: list[Hostile], until: int) -> None:
    """Let all of them press in until a descriptor has ended."""
    while True:
        poll = select.poll()
        poll.register(until, select.POLLIN)
        by_descriptor = {}
        for each in crowd:
            if each.due <= time.monotonic():
                each.go()
            if each.fileno >= 0:
                by_descriptor[each.fileno] = each
                poll.register(each.fileno, select.POLLIN)
        for descriptor, _ in poll.poll(AGAIN_AFTER_S * 1000):
            if descriptor == until:
                if not os.read(until, 1):
                    return
            else:
                by_descriptor[descriptor].hear()


def counted(crowd: list[Hostile]) -> dict[str, int]:
    """Return how often each kind came in, and how many are in now."""
    times: Counter[str] = Counter()
    for each in crowd:
        times[each.kind] += each.times
    return {**times, "in": sum(each.fileno >= 0 for each in crowd)}


def main(path: str, token: str, number: str) -> Iterator[str]:
    secret = Path(token).read_bytes()
    crowd = [Hostile(each, path, secret) for each in range(int(number))]
    besiege(crowd, sys.stdin.fileno())
    yield json.dumps(counted(crowd))
    for each in crowd:
        each.leave()


if __name__ == "__main__":
    for line in main(*sys.argv[1:]):
        print(line)
