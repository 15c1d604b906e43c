"""A copy of the worker, as the agent sees it: asked, interrupted, ended.

A copy belongs to one session and dies with it: with its thread (PDEATHSIG), with its
socket, with the session's end, which kills it, and with the worker. It is niced, the
first to be killed when memory is short, limited in memory, and kills itself after its
time. What can go wrong in it becomes an answer here: a text for each way in which a
copy ends, and a copy that does not let itself be interrupted is killed.

How one is made stands in copies.py.
"""

from __future__ import annotations

import _socket
import os
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from liveheap import forks, limits
from liveheap.agent.descriptor import OwnSocket, SocketLost
from liveheap.clone import wire
from liveheap.clone.inside import PACKAGES
from liveheap.clone.tools import absent
from liveheap.commands.context import Fields, HeapCopy
from liveheap.errors import CommandError

LOOK_EVERY_S, LOOK_LATER_EVERY_S = 0.05, 0.5
LONG_QUIET_S = 2.0
SEND_S = 2.0
COMPLETE_S = 5.0
GRACE_S = 3.0
RECEIVE_BYTES = 1 << 16
SIGINT, SIGKILL, SIGALRM, SIGXCPU = 2, 9, 14, 24
CRASHES = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}
AGAIN = "begin again for a new copy; the worker serves on"
MOST_PICTURES = 10
LONGEST_NOTE = 200
LONGEST_CHARACTER = 4


class Copy:
    """A living copy, or what is left of one."""

    def __init__(self, made: HeapCopy, near: _socket.socket) -> None:
        self.pid = made.child.pid
        self.pause_ns = made.child.pause_ns
        self.rss = made.rss
        self.cap = made.cap
        self.lives_s = made.lives_s
        self.started = time.monotonic()
        self.packages: Mapping[str, Any] = {}
        self._child = made.child
        self._socket = OwnSocket(near)
        self._inbox = wire.Inbox()
        self._oom_kills = limits.oom_kills()
        self._ended: CommandError | None = None
        self._is_foreign = False
        forks.in_child(_forget_copies)
        _copies.add(self)

    @property
    def left_s(self) -> float:
        """How long it may live on."""
        return max(self.started + self.lives_s - time.monotonic(), 0.0)

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        if self._ended is None and self._child.poll() is not None:
            self._ended = self._explain()
        return self._ended is None

    def memory(self) -> Mapping[str, int]:
        """What it costs: bytes that only it has, and those that the worker has, too."""
        fields = limits.rollup(who=str(self.pid))
        own = fields.get("Private_Dirty", 0) + fields.get("Private_Clean", 0)
        return {"own": own, "shared": max(fields.get("Rss", 0) - own, 0)}

    def look_if_ready(self) -> bool:
        """Wait a moment for its first word; CommandError if it is gone."""
        message = self.receive()
        if message is None or message[0] != wire.READY:
            return False
        self.packages = message[1] if isinstance(message[1], dict) else {}
        return True

    def evaluate(self, code: str, *, whole: bool, max_output: int) -> CopyEvaluation:
        """Begin to run code."""
        asked = {"code": code, "whole": whole, "max_output": max_output}
        self._send(wire.pack(wire.ASK, asked))
        return CopyEvaluation(self, max_output)

    def complete(self, text: str) -> list[str]:
        """Return what the last name of a text may become."""
        self._send(wire.pack(wire.COMPLETE, text))
        deadline = time.monotonic() + COMPLETE_S
        while time.monotonic() < deadline:
            message = self.receive()
            if message is not None and message[0] == wire.DONE:
                found = message[1] if isinstance(message[1], list) else []
                return [name for name in found if isinstance(name, str)]
        self.kill("killed: it did not answer")
        raise self._is_lost()

    def facts(self) -> Fields:
        """Say what it is and what it costs."""
        memory = self.memory()
        told: list[tuple[str, str, Any]] = [
            ("pid", "count", self.pid),
            ("pause", "seconds", round(self.pause_ns / 1e9, 6)),
            ("rss", "bytes", self.rss),
            ("own", "bytes", memory["own"]),
            ("shared", "bytes", memory["shared"]),
            ("cap", "bytes", self.cap),
            ("lives", "seconds", round(self.left_s, 1)),
        ]
        missing = [name for name in PACKAGES if not self.packages.get(name)]
        if missing:
            told.append(("without", "text", absent(missing[0])))
        return tuple(told)

    def signal(self) -> None:
        """Have KeyboardInterrupt raised in what it runs."""
        if self.lives:
            with suppress(OSError):
                os.kill(self.pid, SIGINT)

    def kill(self, why: str) -> None:
        """End it, with whatever it has started."""
        if self._ended is None:
            self._ended = CommandError("failed", f"the copy was {why}", hint=AGAIN)
        self._end()

    def close(self) -> None:
        """End it and give everything back. May be called twice."""
        _copies.discard(self)
        if not self._is_foreign:
            self.kill("ended")
        self._socket.close()

    def forget(self) -> None:
        """In a process forked meanwhile: it is not ours there."""
        self._is_foreign = True
        self._child.forget()
        self._socket.close()

    def _end(self) -> None:
        if self._child.poll() is None:
            with suppress(OSError):
                os.killpg(self.pid, SIGKILL)  # its own group, once it has made one
            self._child.kill()
            self._child.wait(10.0)

    def _send(self, data: bytes) -> None:
        if not self.lives and self._ended is not None:
            raise self._ended
        try:
            self._wait_at_most(SEND_S)
            self._socket.socket.sendall(data)
        except OSError as exc:
            raise self._is_lost() from exc

    def _wait_at_most(self, seconds: float) -> None:
        """Bound the next wait; saying it again would cost a system call."""
        if self._socket.socket.gettimeout() != seconds:
            self._socket.socket.settimeout(seconds)

    def receive(self, seconds: float = LOOK_EVERY_S) -> tuple[str, Any] | None:
        """Return a message; None if none comes within a moment."""
        try:
            message = self._inbox.take()
            if message is not None:
                return message
            self._wait_at_most(seconds)
            data = self._socket.socket.recv(RECEIVE_BYTES)
            if not data:
                raise self._is_lost()
            self._inbox.put(data)
            return self._inbox.take()
        except (TimeoutError, BlockingIOError):
            if self.left_s == 0:
                raise self._is_lost() from None
            return None
        except wire.Garbled as exc:
            self.kill(f"killed: it sent {exc}")
            raise self._is_lost() from exc
        except SocketLost as exc:
            self.kill("killed: the worker closed its socket")
            raise self._is_lost() from exc
        except OSError as exc:
            raise self._is_lost() from exc

    def _is_lost(self) -> CommandError:
        """Reap it and say how it ended."""
        if self._ended is None:
            if self._child.wait(1.0) is None:
                self.kill("killed: it does not listen any more")
            else:
                self._ended = self._explain()
        assert self._ended is not None
        return self._ended

    def _explain(self) -> CommandError:
        status = self._child.status()
        number = status["signal"]
        if number in (SIGALRM, SIGXCPU) or self.left_s == 0:
            text = f"its {self.lives_s:.0f} s are over"
        elif number == SIGKILL and limits.oom_kills() > self._oom_kills:
            text = "the kernel killed it: memory is short. The worker was spared"
        elif number in CRASHES:
            text = f"it crashed ({CRASHES[number]}). The worker did not"
        elif number:
            text = f"it was killed from outside (signal {number})"
        else:
            text = "it has ended"
        return CommandError("failed", f"the copy is gone: {text}", hint=AGAIN)


class CopyEvaluation:
    """Code that runs in a copy: see `Evaluation` in `commands/context.py`."""

    def __init__(self, copy: Copy, max_output: int) -> None:
        self.is_over = False
        self.doing = ""
        self._copy = copy
        self._output = bytearray()
        self._left = max_output * LONGEST_CHARACTER
        self._sent = 0
        self._answer: Mapping[str, Any] = {}
        self._quiet_since = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait a moment for its next message.

        Each look takes the interpreter's lock from the worker: who is quiet for long is
        looked at rarely.
        """
        if self.is_over:
            return
        is_new = time.monotonic() < self._quiet_since + LONG_QUIET_S
        message = self._copy.receive(seconds if is_new else LOOK_LATER_EVERY_S)
        if message is None:
            return
        self._quiet_since = time.monotonic()
        kind, content = message
        if kind == wire.TEXT and isinstance(content, bytes):
            self._output += content[: self._left]
            self._left -= len(content)
        elif kind == wire.NOTE:
            self.doing = str(content)[:LONGEST_NOTE]
        elif kind == wire.DONE:
            self._answer = content if isinstance(content, dict) else {}
            self.is_over = True

    def take(self, limit: int) -> bytes:
        """Return the next bytes of its output, cut between characters."""
        end = min(limit, len(self._output))
        while 0 < end < len(self._output) and self._output[end] & 0xC0 == 0x80:
            end -= 1
        data = bytes(self._output[:end])
        del self._output[:end]
        self._sent += len(data)
        return data

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in it, if that can be done now."""
        self._quiet_since = time.monotonic()
        self._copy.signal()

    def why_not_over(self) -> str:
        """End a copy that does not heed an interrupt; say so.

        It stands behind everybody else for a processor, so it has some more time first.
        """
        deadline = time.monotonic() + GRACE_S
        while not self.is_over and time.monotonic() < deadline:
            self.wait(LOOK_EVERY_S)
        if self.is_over:
            return "cancelled"
        self._copy.kill("killed: it did not let itself be interrupted")
        return (
            "cancelled; it did not let itself be interrupted, so the copy was killed: "
            f"{AGAIN}"
        )

    def fields(self) -> Fields:
        """Say how it ended, and what the copy costs by now."""
        answer, copy = self._answer, self._copy
        told: list[tuple[str, str, Any]] = [
            ("outcome", "text", str(answer.get("outcome", "error"))[:16]),
            ("bytes", "bytes", self._sent),
            ("truncated", "bool", bool(answer.get("truncated")) or self._left < 0),
        ]
        if answer.get("raised") is not None:
            told.append(("raised", "text", str(answer["raised"])[:LONGEST_NOTE]))
        pictures = answer.get("pictures")
        if isinstance(pictures, list) and pictures:
            dots = [dot for dot in pictures if isinstance(dot, str)][:MOST_PICTURES]
            told.append(("pictures", "list", dots))
        told.append(("own", "bytes", copy.memory()["own"]))
        told.append(("left", "seconds", round(copy.left_s, 1)))
        return tuple(told)


_copies: weakref.WeakSet[Copy] = weakref.WeakSet()


def _forget_copies() -> None:
    for copy in list(_copies):
        copy.forget()
