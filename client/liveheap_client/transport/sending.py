"""How a machine without liveheap is asked: standin.py, sent to its python3.

The remote command is short and always the same but for a number. What it runs, and what
to do with it, comes over stdin, before the stream: so the name of a worker meets no
shell, nothing stands in the list of processes, and no shell's limits matter. The
command holds what every shell reads alike, csh and fish included: one pair of single
quotes, and in it no newline, no `!`, no `$`, no backslash. It must not outrun its
program: who sends that waits for the greeting before another byte.

`-I -S`: no site, no user's modules, no PYTHON* of that machine.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liveheap_client.errors import SSHError

OLDEST = (3, 6)
_FILES = ("relay.py", "standin.py")
_OWN_IMPORT = "from liveheap_client.transport.relay import "
INTERPRETER = ("python3", "-I", "-S", "-c")
_TOO_OLD = "older than Python 3.6"
_NO_SUCH_OPTION = "Unknown option: -I"


def program(errand: Mapping[str, Any]) -> bytes:
    """Return the program that serves an errand."""
    first, second = (
        Path(__file__).with_name(name).read_text("utf-8") for name in _FILES
    )
    head, own_import, body = second.partition(_OWN_IMPORT)
    rest = body.partition("\n")[2]
    assert own_import
    call = f"serve(json.loads({json.dumps(errand)!r}))"
    return "\n".join([first, head, rest, call, ""]).encode()


def stage(size: int) -> str:
    """Return the line of Python that runs a program of `size` bytes from stdin."""
    return (
        f'import sys;sys.version_info<{OLDEST} and sys.exit("{_TOO_OLD}");'
        f"exec(sys.stdin.buffer.read({size}))"
    )


def words(size: int) -> list[str]:
    """Return the command, as words of an argument vector."""
    return [*INTERPRETER, stage(size)]


def command(size: int) -> str:
    """Return the command, as a remote shell reads it."""
    return f"{' '.join(INTERPRETER)} '{stage(size)}'"


def too_old(python: str, talk: str) -> SSHError | None:
    """Return the error if a python3 said that it is too old for the program."""
    if _TOO_OLD not in talk and _NO_SUCH_OPTION not in talk:
        return None
    return SSHError(
        f"{python} is {_TOO_OLD}, and no `liveheap` is there",
        hint="name it: --remote-command /path/to/venv/bin/liveheap",
    )
