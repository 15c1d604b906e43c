"""Run `liveheap ...` as a user does: another process, an exit code, two streams."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

DEADLINE_S = 60.0


def liveheap(
    *words: object, env: Mapping[str, str], expect: int | None = 0, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and check its exit code, unless `expect` is None."""
    done = subprocess.run(
        [sys.executable, "-m", "liveheap_client", *map(str, words)],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **{"stdin": subprocess.DEVNULL, **options}
        if "input" not in options
        else options,
    )
    if expect is not None and done.returncode != expect:
        raise AssertionError(
            f"liveheap {' '.join(map(str, words))}: exit {done.returncode}, "
            f"expected {expect}\n{done.stdout}\n{done.stderr}"
        )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def starting(
    *words: object, env: Mapping[str, str], **options: Any
) -> "subprocess.Popen[str]":
    """Start a command whose end the test does not only wait for."""
    return subprocess.Popen(
        [sys.executable, "-m", "liveheap_client", *map(str, words)],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
