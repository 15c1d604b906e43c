"""The stdio of a subprocess as the stream: ssh, docker exec, kubectl exec, sudo.

stdout is the stream and stderr is talk: it is kept apart, never shown while all is
well, and its last lines go into the error when the command fails. Both are polled by
the one thread that receives. Nobody waits for the end of stderr: the master process
that ssh leaves behind (ControlPersist) may keep it open for minutes.

The child ignores SIGINT. Ctrl-C reaches the whole foreground group of a terminal, and
it must cancel a request, not kill the stream that carries the cancellation. The child
stays in our group and keeps the terminal, since ssh may want a password.
"""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from liveheap_client.errors import ConnectError, ConnectionLost, TimedOut
from liveheap_client.transport.base import Transport
from liveheap_client.transport.relay import widen

RECEIVE_BYTES = 1 << 19
SEND_TIMEOUT_S = 30.0
NOT_FOUND = 127
_REAP_TIMEOUT_S = 2.0
_STDERR_KEPT_BYTES = 1 << 14
_POLLED = select.POLLIN | select.POLLHUP | select.POLLERR

Explain = Callable[[int | None, str], Exception]
"""From an exit code (None: still running) and stderr's text to an error."""


class CommandTransport(Transport):
    """A stream over a command's standard input and output."""

    def __init__(self, argv: Sequence[str], *, explain: Explain | None = None) -> None:
        self._name = argv[0]
        self._explain = explain or plainly(self._name)
        self._talk = b""
        try:
            with _interrupts_ignored():
                self._process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                )
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise ConnectError(
                f"cannot run {self._name}: {reason}",
                hint="the command must be on your PATH",
            ) from exc
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        self._stderr = self._process.stderr.fileno()
        self._stderr_open = True
        widen(self._stdout, RECEIVE_BYTES)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stderr, False)

    def send(self, data: bytes) -> None:
        unsent = memoryview(data)
        deadline = time.monotonic() + SEND_TIMEOUT_S
        while unsent:
            if not _ready(self._stdin, select.POLLOUT, deadline):
                raise TimedOut(f"{self._name} takes no data")
            try:
                unsent = unsent[os.write(self._stdin, unsent) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise self.why_ended() from exc

    def receive(self, *, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            poll = select.poll()
            poll.register(self._stdout, _POLLED)
            if self._stderr_open:
                poll.register(self._stderr, _POLLED)
            remaining = max(deadline - time.monotonic(), 0)
            ready = {fd for fd, _ in poll.poll(remaining * 1000)}
            if self._stderr in ready:
                self._listen()
            if self._stdout in ready:
                return os.read(self._stdout, RECEIVE_BYTES)
            if time.monotonic() >= deadline:
                raise TimedOut(f"{self._name}: no answer within {timeout:g} s")

    def end_sending(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def why_ended(self) -> Exception:
        return self._explain(self.exit_code(), self.talk)

    def exit_code(self) -> int | None:
        """Wait a moment for the command's end; None if it is still running."""
        self.end_sending()
        code = self._reap()
        self._listen()
        return code

    @property
    def talk(self) -> str:
        """Return what the command has said on stderr, the last of it."""
        return self._talk.decode("utf-8", "replace").strip()

    def close(self) -> None:
        self.end_sending()
        if self._reap() is None:
            self._process.terminate()
            if self._reap() is None:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream
            stream.close()
        self._stderr_open = False

    def _listen(self) -> None:
        """Read what stderr has; without blocking, and bounded."""
        while self._stderr_open:
            try:
                said = os.read(self._stderr, 4096)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            self._stderr_open = bool(said)
            self._talk = (self._talk + said)[-_STDERR_KEPT_BYTES:]

    def _reap(self, *, timeout: float = _REAP_TIMEOUT_S) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def plainly(name: str) -> Explain:
    """Return what turns the end of a command that we know nothing of into an error."""

    def from_end(code: int | None, talk: str) -> Exception:
        ending = "ended" if code is None else f"ended with exit code {code}"
        return ConnectionLost("\n".join([f"{name} {ending}", *last_lines(talk)]))

    return from_end


def last_lines(talk: str, *, limit: int = 4) -> list[str]:
    """Return the last lines of a command's stderr, without the empty ones."""
    return [line.rstrip() for line in talk.splitlines() if line.strip()][-limit:]


def _ready(descriptor: int, events: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1000))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT here, so that a child started now inherits that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
