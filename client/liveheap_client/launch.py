"""`liveheap run -- CMD`: start a command with an agent in every Python it becomes.

The agent's own `sitecustomize.py` goes to the front of PYTHONPATH and chains to the one
it shadows; nothing of the command is touched. The process is replaced, so signals, exit
code and pid are the command's own.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from liveheap_client.errors import ClientError


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that starts an agent in each Python process."""
    directory = str(_boot_directory())
    paths = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if directory not in paths:
        paths.insert(0, directory)
    changed = dict(environ)
    changed["PYTHONPATH"] = os.pathsep.join(paths)
    return changed


def replace_process(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become the command. Returns only by raising."""
    try:
        os.execvpe(command[0], list(command), environment(environ))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ClientError(
            f"cannot run {command[0]!r}: {reason}",
            hint="for a Python file: liveheap run -- python FILE",
        ) from exc


def _boot_directory() -> Path:
    """Find the folder with the agent's sitecustomize, without importing it."""
    spec = importlib.util.find_spec("liveheap.boot")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(place).rglob("sitecustomize.py")):
            return found.parent
    raise ClientError("this installation of liveheap has no boot folder")
