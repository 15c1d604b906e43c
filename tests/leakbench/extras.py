"""The extra cases: invented leaks with other mechanisms, and their innocent twins.

Each is one file in extra/, started in an environment with the libraries of
requirements.txt; it says `ready` when its load runs. What a report should say of it
stands in extra/answers.json: the kinds of verdict that are right, what its sentence
`says`, and what type and holder of a suspect have to match.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from environments import Failed, Wheels, run

FOLDER = Path(__file__).parent / "extra"
HUNT = Path(__file__).parent / "hunt.py"
WARM_UP_S = "4"


def answers() -> dict[str, dict[str, Any]]:
    """Return what is expected, by case."""
    expected: dict[str, dict[str, Any]] = json.loads(
        (FOLDER / "answers.json").read_text()
    )
    return expected


def environment(home: Path, wheels: Wheels) -> Path:
    """Return the Python of the environment for all extra cases, made if needed."""
    folder = home / "venvs" / "extra"
    python = folder / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(folder)])
    run(
        [
            str(python),
            "-m",
            "pip",
            "-q",
            "install",
            "-r",
            str(FOLDER / "requirements.txt"),
        ]
    )
    wheels.into(python)
    return python


def hunt(python: Path, name: str, out: Path, command: list[str]) -> None:
    """Run a case and hunt in it."""
    env = {**os.environ, "LIVEHEAP": "1", "PYTHONUNBUFFERED": "1"}
    liveheap, verb, *options = command
    case = subprocess.Popen(
        [str(python), str(FOLDER / f"{name}.py")],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert case.stdout is not None
        if case.stdout.readline().strip() != "ready":
            raise Failed(f"{name} did not get ready")
        subprocess.run(["sleep", WARM_UP_S], check=True)
        words = [sys.executable, str(HUNT), str(out), str(case.pid), liveheap]
        subprocess.run([*words, verb, *options], stdout=subprocess.DEVNULL, check=False)
    finally:
        case.kill()
        case.communicate()
