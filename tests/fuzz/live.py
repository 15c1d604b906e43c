"""A live worker that computes while it is sent broken conversations.

Every other one is broken in its handshake; the rest shake hands as they should, and
their frames are broken. What no target in memory shows: sockets, threads and time. The
worker must be as it was afterwards, and answer an honest client meanwhile. That client
is only counted as kept waiting where the agent says `busy`: it takes so many at once.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]

from agent_host import Host, start_host  # noqa: E402
from contract.minimal_client import shake_hands  # noqa: E402
from peers import read_recording  # noqa: E402
from spawn import Stage, eventually  # noqa: E402

from liveheap.errors import LiveheapError  # noqa: E402

SPIN = "import threading; threading.Thread(target=spin).start()"
SENDERS = 3
AT_A_TIME = 1000  # a host spins for half a minute at most
ANSWER_WITHIN_S = 15.0
MOST_GROWTH_KIB = 1024


@dataclass(slots=True)
class Lived:
    """What the worker was sent, and how it is afterwards."""

    sent: int = 0
    seconds: float = 0.0
    pings: int = 0
    longest_ping_s: float = 0.0
    growth_kib: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"A live worker that computes, {self.sent:,} broken conversations:"
        yield ""
        yield (
            f"- {self.seconds:.0f} s; an honest client in between was answered "
            f"{self.pings} times, after {self.longest_ping_s * 1000:.0f} ms at most"
        )
        yield (
            f"- afterwards: threads and descriptors as before, nothing on stderr, "
            f"{self.growth_kib:+,} KiB resident"
        )
        yield f"- found: {'; '.join(self.faults) or 'nothing'}"


def send(number: int) -> Lived:
    """Send that many, look at the worker, and end it."""
    stage = Stage()
    lived = Lived()
    try:
        host = start_host(stage, "plain")
        _try(host, range(number // 20), Lived())  # what is allocated once is no growth
        before = resident_kib(host.pid)
        with host.unharmed():
            for start in range(0, number, AT_A_TIME):
                with host.busy(SPIN):
                    _try(host, range(start, min(start + AT_A_TIME, number)), lived)
        lived.growth_kib = resident_kib(host.pid) - before
        if lived.growth_kib > MOST_GROWTH_KIB:
            lived.faults.append(f"grew by {lived.growth_kib} KiB")
    except AssertionError as exc:
        lived.faults.append(f"harmed: {exc}")
    finally:
        stage.close()
    return lived


def _try(host: Host, seeds: range, lived: Lived) -> None:
    path = host.worker.wait_for_socket()
    token = path.with_name("token").read_bytes()
    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as pool:
        done = pool.map(lambda seed: converse(path, token, seed), seeds)
        for place, fault in zip(seeds, done, strict=True):
            lived.sent += 1
            if fault:
                lived.faults.append(f"conversation {place}: {fault}")
            if place % 250 == 0:
                _ping(host, lived)
    lived.seconds += time.monotonic() - began


def _ping(host: Host, lived: Lived) -> None:
    began = time.monotonic()
    eventually(host.count_sessions, what="an answer", deadline_s=ANSWER_WITHIN_S)
    lived.pings += 1
    lived.longest_ping_s = max(lived.longest_ping_s, time.monotonic() - began)


def converse(path: Path, token: bytes, seed: int) -> str | None:
    """Hold one broken conversation; return what the agent did that it must not."""
    choice = random.Random(seed)
    recorded = read_recording("peer-v1-session.hex")
    said = [data for who, data in recorded if who == "client"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_WITHIN_S)
        try:
            sock.connect(str(path))
            if seed % 2:
                with suppress(LiveheapError):
                    shake_hands(sock, token)
                data = broken(choice.choice(said[2:]), choice)
            else:
                data = broken(said[0] + said[1], choice)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass
        except TimeoutError:
            return f"not closed within {ANSWER_WITHIN_S:.0f} s"
        except OSError:
            return None
    return None


def broken(data: bytes, choice: random.Random) -> bytes:
    """Change, drop, double or put in a few bytes."""
    out = bytearray(data)
    for _ in range(choice.randint(1, 4)):
        at = choice.randrange(len(out) + 1)
        how = choice.randrange(4)
        if how == 0 and at < len(out):
            out[at] ^= choice.randint(1, 255)
        elif how == 1:
            del out[at : at + choice.randint(1, 8)]
        elif how == 2:
            out[at:at] = choice.randbytes(choice.randint(1, 8))
        else:
            out[at:at] = out[: choice.randint(0, len(out))]
    return bytes(out)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print("\n".join(send(int(sys.argv[1]) if sys.argv[1:] else 10_000).lines()))
