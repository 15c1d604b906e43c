"""Run `liveheap ...` as a user does: another process, an exit code, two streams."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

MODULE = (sys.executable, "-m", "liveheap_client")
DEADLINE_S = 120.0


def liveheap(
    *words: object, env: Mapping[str, str], expect: int | None = 0, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command in pipes; check its exit code, unless `expect` is None."""
    done = subprocess.run(
        [*MODULE, *map(str, words)],
        env=dict(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    told = (
        f"liveheap {' '.join(map(str, words))}: exit {done.returncode}, "
        f"expected {expect}\n{done.stdout}\n{done.stderr}"
    )
    assert expect is None or done.returncode == expect, told
    assert "Traceback" not in done.stderr, told
    assert "\x1b" not in done.stdout + done.stderr, told
    return done


def of_its_own(said: str) -> str:
    """Return what was said but for that, and why, somebody has been silent for long.

    On a busy machine anybody may be: the client says so, and waits.
    """
    lines = said.splitlines(keepends=True)
    slow = ("not answering: ", "from outside: ", "no greeting from ", "no answer from ")
    return "".join(line for line in lines if not line.startswith(slow))


def starting(
    *words: object, env: Mapping[str, str], **options: Any
) -> "subprocess.Popen[str]":
    """Start a command whose end the test does not only wait for."""
    return subprocess.Popen(
        [*MODULE, *map(str, words)],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
