"""The environments of the matrix: for each CPython one, with every host it can have.

Kept in build/venvs between runs. A distribution that does not install on a Python is
remembered with pip's last word, and its hosts' cells say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NEWEST = ("3.14", "3.15")  # in a chroot, where this machine has none
# By environment, then by what it is for. MRQ's last release wants old clients, and
# names programs of its dashboard that no worker needs.
MRQ = ("future", "redis<3", "pymongo<4", "gevent", "psutil", "termcolor", "objgraph")
SETS = {
    "mrq": {
        "mrq": (*MRQ, "ujson", "hiredis", "mongomock", "setuptools<80", "wheel"),
    },
    "": {
        "celery": ("celery>=5.4", "redis>=5", "packaging"),
        "redis": ("redis>=5",),
        "rq": ("rq>=2",),
        "dramatiq": ("dramatiq[redis]>=1.17",),
        "huey": ("huey>=2.5",),
        "gunicorn": ("gunicorn>=22",),
        "uvicorn": ("uvicorn>=0.30",),
        "gevent": ("gevent>=24.2",),
        "eventlet": ("eventlet>=0.40",),
        "memray": ("memray>=1.14",),
    },
}
WITHOUT_NEEDS = {"mrq": ("--no-deps", "--no-build-isolation", "mrq==0.9.10")}
TOO_LONG_S = 900


def interpreters() -> dict[str, str]:
    """Return the CPythons of this machine, by minor version."""
    script = PROJECT / ".ci" / "pythons.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    )
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def folder(version: str, name: str = "") -> Path:
    """Return where the environment of a Python lies."""
    return (
        PROJECT / "build" / "venvs" / "-".join(filter(None, ("hosts", version, name)))
    )


def make(version: str, interpreter: str, name: str = "") -> dict[str, str]:
    """Make or reuse an environment; return what did not install, and why."""
    place = folder(version, name)
    relative = place.relative_to(PROJECT)
    run([".ci/venv.sh", str(relative), interpreter, "strict", "WHEEL[cli]"])
    noted = place / "refused.json"
    if noted.exists():
        return dict(json.loads(noted.read_text()))
    refused = {}
    if install(
        place, sorted({word for words in SETS[name].values() for word in words})
    ):
        for distribution, words in SETS[name].items():
            reason = install(place, words)
            if reason:
                refused[distribution] = reason
    reason = install(place, WITHOUT_NEEDS[name]) if name in WITHOUT_NEEDS else ""
    if reason:
        refused[name] = reason
    noted.write_text(json.dumps(refused))
    return refused


def install(place: Path, words: list[str] | tuple[str, ...]) -> str:
    """Install distributions; return why that failed, or nothing."""
    python = str(place / "bin" / "python")
    done = subprocess.run(
        [".ci/pip", python, "install", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=TOO_LONG_S,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    return "" if not done.returncode else (said or ["pip failed"])[-1].strip()[:120]


def run(words: list[str]) -> None:
    """Run a script of .ci, quietly; show what it said if it fails."""
    done = subprocess.run(
        words,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=TOO_LONG_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"{words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def is_root() -> bool:
    return os.geteuid() == 0
