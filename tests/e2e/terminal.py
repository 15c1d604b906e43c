"""Run `liveheap ...` on a terminal of 80 columns, as a user does."""

import contextlib
import errno
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

from command_line import MODULE

DEADLINE_S = 60.0
FAKE_SSH = Path(__file__).with_name("fake_ssh.py")


def without(*modules: str) -> list[str]:
    """Return the start of a command line in which modules cannot be imported."""
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in modules)
    code = (
        f"import sys; {blocked}; "
        "from liveheap_client.__main__ import main; sys.exit(main())"
    )
    return [sys.executable, "-c", code]


class Screen:
    """A child on a pseudo terminal of 80 columns."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self._master = master
        self.process = process
        self.seen = ""
        self._looked_at = 0

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> str:
        """Read until `text` comes after what was waited for last; return up to it."""
        start = self._looked_at
        while (found := self.seen.find(text, start)) < 0:
            data = self._read()
            assert data, f"ended before {text!r}:\n{self.seen}"
            self.seen += data
        self._looked_at = found + len(text)
        return self.seen[start : self._looked_at]

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while data := self._read():
            self.seen += data
        return self.process.wait(60)

    def _read(self) -> str:
        ready, _, _ = select.select([self._master], [], [], DEADLINE_S)
        assert ready, f"nothing new on the screen:\n{self.seen}"
        try:
            return os.read(self._master, 65536).decode("utf-8", "replace")
        except OSError as exc:
            if exc.errno == errno.EIO:
                return ""
            raise


@contextlib.contextmanager
def on_a_screen(
    *words: object, env: dict[str, str], program: Sequence[str] = MODULE
) -> Iterator[Screen]:
    """Run `liveheap ...` on a terminal; Ctrl-C is `type("\\x03")`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [*program, *map(str, words)],
        env={**env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one thread here
    )
    os.close(slave)
    try:
        yield Screen(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
