"""The programs that read what `liveheap export` writes, for tests and for the check.

Each function runs the consumer's own code and returns what it found. `Missing` says
that a program is not here; what it would take to have it stands in its text.

DevTools' engine is a pinned npm package, bundled once into build/devtools; its name is
a hash of what it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "devtools"
SOURCES = ("package.json", "package-lock.json", "bundle.mjs", "engine.ts")
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
INSTALL_S = 120.0
RUN_S = 300.0


class Missing(Exception):
    """A consumer is not here."""


def devtools(*files: Path) -> dict[str, Any]:
    """Load `.heapsnapshot` files with the engine of DevTools' Memory panel."""
    # As Chrome lets it: its heap is larger than node's default.
    words = ["node", "--max-old-space-size=8192", str(devtools_engine()), *files]
    found: dict[str, Any] = json.loads(_run(words))
    return found


def devtools_engine() -> Path:
    """Return the engine as one file for node; make it if need be."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed")
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    engine = BUILD / f"engine-{digest.hexdigest()[:16]}.mjs"
    if not engine.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as made:
            for name in SOURCES:
                shutil.copy(HERE / name, made)
            try:
                _run(NPM, cwd=made, timeout_s=INSTALL_S)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
                said = exc.stderr or exc
                raise Missing(f"npm cannot install DevTools' engine: {said}") from exc
            _run(["node", "bundle.mjs"], cwd=made)
            os.replace(Path(made) / "engine.mjs", engine)
    return engine


def pprof(*words: object) -> str:
    """Return what `go tool pprof` prints."""
    if shutil.which("go") is None:
        raise Missing("go is not installed")
    return _run(["go", "tool", "pprof", *map(str, words)])


def graphviz(file: Path) -> str:
    """Return Graphviz source as the SVG that `dot` draws of it."""
    if shutil.which("dot") is None:
        raise Missing("graphviz is not installed")
    return _run(["dot", "-Tsvg", file])


def _run(words: Any, *, cwd: str | None = None, timeout_s: float = RUN_S) -> str:
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=True
    )
    return done.stdout
