"""A copy of nothing: answers on its socket as the program of a real copy does.

It runs in a thread of this process, so that the agent's side is tested without a fork.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from liveheap.clone import wire


@dataclass
class FakeCopyProcess:
    """The process that a copy would be."""

    pid: int = 2**22 + 1
    pause_ns: int = 2_000_000
    ended: threading.Event = field(default_factory=threading.Event)
    signal: int = 0

    def status(self) -> dict[str, Any]:
        return {"signal": self.signal}

    def poll(self) -> int | None:
        return 0 if self.ended.is_set() else None

    def wait(self, timeout_s: float, /) -> int | None:
        self.ended.wait(timeout_s)
        return self.poll()

    def kill(self) -> None:
        self.ended.set()

    def forget(self) -> None:
        pass


@dataclass(frozen=True)
class FakeCopy:
    """What `Heap.clone` returns."""

    child: FakeCopyProcess
    rss: int = 100 << 20
    cap: int = 110 << 20
    lives_s: float = 600.0


def clone(fd: int, *, lives_s: float = 600.0) -> FakeCopy:
    """Begin to answer on a descriptor."""
    sock = socket.socket(fileno=os.dup(fd))
    copy = FakeCopy(FakeCopyProcess(), lives_s=lives_s)
    threading.Thread(target=_answer, args=(sock, copy.child), daemon=True).start()
    return copy


def _answer(sock: socket.socket, process: FakeCopyProcess) -> None:
    inbox = wire.Inbox()
    packages = {"guppy3": True, "objgraph": True}
    with sock:
        sock.sendall(wire.pack(wire.READY, packages))
        while data := sock.recv(65536):
            inbox.put(data)
            while (message := inbox.take()) is not None:
                sock.sendall(_answer_to(*message))
    process.ended.set()


def _answer_to(kind: str, content: Any) -> bytes:
    if kind == wire.COMPLETE:
        return wire.pack(wire.DONE, ["byvia", "byrcs"])
    text = wire.pack(wire.TEXT, f"{content['code']}\n".encode())
    done = {"outcome": "ok", "raised": None, "truncated": False, "pictures": []}
    return text + wire.pack(wire.DONE, done)
