"""Many command lines at the price of one start: a client that forks for each of them.

Run as a program it imports the whole client once and then does what each line of its
standard input says. What a command writes goes through real descriptors, as it does in
a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 300


@dataclass(frozen=True)
class Done:
    """A command line that has ended, and what it wrote."""

    words: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> bytes:
        return self.out + self.err


class Client:
    """The forking client, as the tests see it."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            text=True,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *words: object, stdin: str = "", **env: str) -> Done:
        """Run one command line to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = [str(word) for word in words]
        order = {"words": told, "stdin": stdin, "env": env}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        out, err = (answer[name].encode("latin-1") for name in ("out", "err"))
        return Done(tuple(told), answer["code"], out, err)


def perform(order: Mapping[str, Any], main: Any) -> dict[str, Any]:
    """Fork, run, and return what came of it."""
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(order["stdin"].encode())
        given.seek(0)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                for number, file in enumerate((given, out, err)):
                    os.dup2(file.fileno(), number)
                sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
                os.environ.update(order["env"])
                code = run(order["words"], main)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("latin-1"))
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "out": texts[0], "err": texts[1]}


def run(words: Sequence[str], main: Any) -> int:
    """Run a command line in this process, which nothing outlives."""
    import signal

    signal.alarm(DEADLINE_S)
    try:
        code = int(main(words))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def serve() -> None:
    """Do what each line says."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import importlib
    import pkgutil

    import liveheap_client
    from liveheap_client.__main__ import main

    for module in pkgutil.walk_packages(liveheap_client.__path__, "liveheap_client."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for line in sys.stdin:
        print(json.dumps(perform(json.loads(line), main)), flush=True)


if __name__ == "__main__":
    serve()
