"""The first way in: a manhole that the worker's own program has opened.

`manhole.install()` leaves a socket `/tmp/manhole-PID`, behind which a console of the
worker runs, in a thread of its own. Its name proves nothing, for /tmp is everybody's:
the kernel says which process listens there, and nothing is sent to any other.

The console greets with the stacks of all threads, so what it says is thrown away up to
its prompt, for a bounded time. One client at a time has it; where somebody else does,
no prompt comes, and the next way is taken.
"""

import contextlib
import os
import socket
import struct
import time

from liveheap_client.inject.process import Process
from liveheap_client.inside import walked

PROMPT = b">>> "
UCRED = struct.Struct("3i")
LOOK_S = 0.2


class NoManhole(Exception):
    """It has none that would do; why."""


def path_of(process: Process) -> str:
    """Return where its manhole would be, as the worker names it."""
    return f"/tmp/manhole-{process.inner_pid}"


def is_there(process: Process) -> bool:
    """Whether something of that name lies there."""
    return os.path.lexists(process.root + path_of(process))


def say(process: Process, line: str, *, timeout_s: float) -> None:
    """Send a line to the worker's console, and leave it.

    Raises:
        NoManhole: nobody has heard the line.
    """
    deadline = time.monotonic() + timeout_s
    with contextlib.closing(_connected(process, timeout_s)) as console:
        _wait_for_prompt(console, deadline)
        try:
            console.sendall(line.encode() + b"\n")
            _wait_for_prompt(console, deadline)
            console.sendall(b"exit()\n")
            _drain(console)
        except OSError as exc:
            raise NoManhole(f"it hung up: {exc.strerror or exc}") from exc


def _connected(process: Process, timeout_s: float) -> socket.socket:
    folder, _, name = path_of(process).rpartition("/")
    console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        console.settimeout(timeout_s)
        with walked(process.root, folder) as fd:
            console.connect(f"/proc/self/fd/{fd}/{name}")
        raw = console.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    except OSError as exc:
        console.close()
        raise NoManhole(f"nobody answers there: {exc.strerror or exc}") from exc
    pid, uid, _ = UCRED.unpack(raw)
    if pid != process.pid or uid not in (process.uid, 0):
        console.close()
        raise NoManhole(f"not this worker listens there, but process {pid}")
    return console


def _wait_for_prompt(console: socket.socket, deadline: float) -> None:
    """Read until the console waits for a line."""
    end = b""
    while not end.endswith(PROMPT):
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoManhole("it gave no prompt in time; has somebody else got it?")
        console.settimeout(left)
        try:
            data = console.recv(65536)
        except TimeoutError:
            continue
        except OSError as exc:
            raise NoManhole(f"it hung up: {exc.strerror or exc}") from exc
        if not data:
            raise NoManhole("it hung up")
        end = (end + data)[-len(PROMPT) :]


def _drain(console: socket.socket) -> None:
    """Read to the end, so that its last words find a reader."""
    console.settimeout(LOOK_S)
    with contextlib.suppress(OSError):
        while console.recv(65536):
            pass
