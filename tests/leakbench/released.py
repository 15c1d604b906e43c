"""The released leaks: cases of the folder that LEAKBENCH names, by its own runner.

Nothing of a case is touched. The agent starts through liveheap.pth (LIVEHEAP=1 in the
environment), as it would in an image, so the target has no hook but the agent. A late
bench has environments without liveheap, and the agent is brought into the worker that
has begun to leak.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import Wheels, run

HUNT = Path(__file__).parent / "hunt.py"


@dataclass(frozen=True, slots=True)
class Case:
    """A line of cases.map."""

    name: str
    venv: str
    control_venv: str
    control: str

    def environment(self, *, control: bool) -> str:
        """Return the name of the environment that a variant runs in."""
        by_version = control and self.control == "version"
        return self.control_venv if by_version else self.venv


class Bench:
    """A checkout of the bench, and the folder for what it makes."""

    def __init__(
        self, folder: Path, home: Path, wheels: Wheels, *, late: bool = False
    ) -> None:
        self._folder = folder
        self._late = late
        self._home = home
        self._wheels = wheels
        self._ready: set[str] = set()

    def cases(self) -> Iterator[Case]:
        """Yield the cases in the bench's order."""
        for line in (self._folder / "cases.map").read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                yield Case(*line.split())

    def truth(self, case: Case) -> dict[str, Any]:
        """Return what is known of a case."""
        path = self._folder / "cases" / case.name / "truth.json"
        truth: dict[str, Any] = json.loads(path.read_text())
        return truth

    def prepare(self, case: Case, *, control: bool) -> None:
        """Make the environment and put the agent into it."""
        name = case.environment(control=control)
        if name in self._ready:
            return
        words = [str(self._folder / "setup.sh"), case.name]
        python = self._wheels.python(self.truth(case)["python"])
        run([*words, *(["control"] if control else [])], env=self._env(PYTHON=python))
        if not self._late:
            self._wheels.into(self._home / "venvs" / name / "bin" / "python")
        self._ready.add(name)

    def hunt(self, case: Case, out: Path, command: list[str], *, control: bool) -> None:
        """Run a case and hunt in it. What the hunt came to, its folder shows."""
        self.prepare(case, control=control)
        liveheap, verb, *options = command
        words = [sys.executable, str(self._folder / "run_case.py"), case.name]
        words += ["--control"] if control else []
        words += ["--timeout", "300", "--out", str(out.parent / f"{out.name}.txt")]
        words += ["--", sys.executable, str(HUNT), *self._to_bring(case)]
        words += [str(out), "{pid}", liveheap]
        env = self._env() if self._late else self._env(LIVEHEAP="1")
        run([*words, verb, *options], env=env)

    def _to_bring(self, case: Case) -> list[str]:
        """Return how the hunt is told to bring an agent, and which."""
        if not self._late:
            return []
        version = str(self.truth(case)["python"])
        is_ours = version == ".".join(map(str, sys.version_info[:2]))
        return ["--late" if is_ours else f"--late={self._wheels.wheel(version)}"]

    def points(self, case: Case, screen: Path) -> dict[str, Any]:
        """Return the points that the bench's scorer proposes for a report."""
        words = [sys.executable, str(self._folder / "score.py"), case.name]
        score: dict[str, Any] = json.loads(run([*words, str(screen), "--json"]))
        return score

    def _env(self, **more: str) -> dict[str, str]:
        return {**os.environ, "LEAKBENCH_HOME": str(self._home), **more}
