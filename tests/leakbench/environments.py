"""Environments of the targets: the case's pinned packages and this tree's agent.

The bench's own setup.sh builds a case's environment; the agent comes in as a wheel,
one per minor version of Python, and is replaced on every run, so that what is measured
is the commit in the table.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A step of the bench did not work; the text says which."""


def run(
    words: list[str], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> str:
    """Run a command and return its stdout; what it said is in the error."""
    full = {**os.environ, **(env or {})}
    done = subprocess.run(
        words, cwd=cwd, env=full, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-2000:]
        raise Failed(f"{' '.join(words)}: exit code {done.returncode}\n{said}")
    return done.stdout


class Wheels:
    """The agent's wheels, built when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._pythons: dict[str, str] = {}
        self._wheels: dict[str, Path] = {}

    def python(self, version: str) -> str:
        """Return the interpreter of a minor version."""
        with self._lock:
            return self._python(version)

    def _python(self, version: str) -> str:
        if not self._pythons:
            lines = run([sys.executable, ".ci/pythons.py"]).splitlines()
            self._pythons = dict(line.split(" ", 1) for line in lines)
        if version not in self._pythons:
            raise Failed(f"no CPython {version} here")
        return self._pythons[version]

    def wheel(self, version: str) -> Path:
        """Return this tree's wheel for a minor version of Python."""
        with self._lock:
            return self._wheel(version)

    def _wheel(self, version: str) -> Path:
        if version not in self._wheels:
            target = self._folder / version
            for old in target.glob("*.whl"):
                old.unlink()
            python = self.python(version)
            pip = [python, "-m", "pip", "-q", "wheel", ".", "--no-deps", "-w"]
            run([*pip, str(target), "-Cbuild-dir=build/leakbench/{wheel_tag}"])
            self._wheels[version] = next(target.glob("*.whl"))
        return self._wheels[version]

    def into(self, venv_python: Path) -> None:
        """Put the agent into an environment, in place of an older one."""
        script = "import sys; print('%d.%d' % sys.version_info[:2])"
        version = run([str(venv_python), "-c", script]).strip()
        pip = [str(venv_python), "-m", "pip", "-q"]
        run([*pip, "install", str(self.wheel(version))])
        run(
            [
                *pip,
                "install",
                "--no-deps",
                "--force-reinstall",
                str(self.wheel(version)),
            ]
        )
