"""A redis-server of our own on a Unix socket: no port, no disk, ended by its pid."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from spawn import eventually

MISSING = "redis-server is not installed"
LIMITS = ("--maxmemory", "256mb", "--save", "", "--appendonly", "no")


def is_here() -> bool:
    """Return whether this machine has a redis-server."""
    return shutil.which("redis-server") is not None


@contextlib.contextmanager
def running_redis(directory: Path) -> Iterator[Path]:
    """Start a server in the directory; yield its socket once it answers."""
    path = directory / "redis.sock"
    words = ["redis-server", "--port", "0", "--unixsocket", str(path), *LIMITS]
    with (directory / "redis.log").open("wb") as log:
        server = subprocess.Popen(
            [*words, "--dir", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: answers(path), what="redis-server answers")
        yield path
    finally:
        server.kill()
        server.wait(10)


def answers(path: Path) -> bool:
    """Return whether a server says PONG at this socket."""
    return ask(path, "PING") == b"+PONG\r\n"


def length(path: Path | None, queue: str) -> int:
    """Return how many elements a list has."""
    return int(ask(path, f"LLEN {queue}")[1:] or -1)


def ask(path: Path | None, command: str) -> bytes:
    """Send one command; return the answer, or nothing if nobody is there."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096)
    return b""
