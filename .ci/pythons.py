"""Print the CPythons to test: one line `VERSION PATH` per supported minor version.

Looked for in LIVEHEAP_PYTHONS (paths, colon separated), on PATH, and where pyenv, uv
and their like keep theirs. The first that works wins: CPython with the GIL, headers and
venv. A minor version that was not found is named on stderr.
"""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
PROBE = """
import os, sys, sysconfig, venv, ensurepip
assert sys.implementation.name == "cpython"
assert not sysconfig.get_config_var("Py_GIL_DISABLED")
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
print("%d.%d" % sys.version_info[:2])
"""


def candidates() -> Iterator[str]:
    """Yield paths that may be interpreters, the most deliberate ones first."""
    yield from filter(None, os.environ.get("LIVEHEAP_PYTHONS", "").split(os.pathsep))
    for version in SUPPORTED:
        yield from filter(None, [shutil.which(f"python{version}")])
    yield getattr(sys, "_base_executable", sys.executable)  # a venv may lack pip
    homes = [os.path.expanduser("~/.*env"), os.path.expanduser("~/.local/share/*")]
    homes.extend(filter(None, [os.environ.get("PYENV_ROOT")]))
    for home in homes:
        for store in ("versions", "python"):
            yield from sorted(glob.glob(f"{home}/{store}/*/bin/python3"), reverse=True)
    yield from sorted(glob.glob("/opt/*/bin/python3"))


def version_of(path: str) -> str | None:
    """Return the minor version of a usable interpreter, or None."""
    try:
        answer = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def main() -> None:
    found: dict[str, str] = {}
    for path in dict.fromkeys(candidates()):
        if set(found) >= set(SUPPORTED):
            break
        version = version_of(path)
        if version in SUPPORTED:
            found.setdefault(str(version), path)
    for version in SUPPORTED:
        if version in found:
            print(version, found[version])
        else:
            print(f"no CPython {version} here", file=sys.stderr)


if __name__ == "__main__":
    main()
