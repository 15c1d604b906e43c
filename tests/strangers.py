"""Another user, for tests that root runs: a number that is nobody's, programs as it.

The number is of this process's own, so that tests which run side by side, or are run
twice, do not meet in `/tmp/liveheap-UID`.
"""

import os
import subprocess
import sys
from typing import Any

import pytest

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root is two users")
BECOME = (
    "import os, socket, sys; uid = int(sys.argv[1]); os.setgroups([]); "
    "os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)\n"
)


def stranger_uid() -> int:
    """Return the number of a user that nobody is, our own."""
    return 30_000 + os.getpid() % 30_000


def as_stranger(
    uid: int, program: str, *words: object, **options: Any
) -> "subprocess.Popen[str]":
    """Start a Python program as that user; `sys.argv[2:]` are its words."""
    return subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            BECOME + program,
            str(uid),
            *map(str, words),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
