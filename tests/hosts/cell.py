"""One cell of the matrix: one host on the Python that runs this, in all three ways.

    cd tests && PYTHON -m hosts.cell HOST

Prints one line of JSON: {"host":, "ways": {way: {check: [state, note]}}}. The way `run`
goes through all checks, the others through the one that the way decides. A check that
fails is a result; those that need what it promised are left out after it.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from hosts import broker
from hosts.catalogue import Host, named, slug
from hosts.checks import CHECKS, FIRST_GATE, NotApplicable
from hosts.running import Running, start

OK, FAILED, NONE = "ok", "failed", "none"
WAYS = {
    "run": tuple(CHECKS),
    "pth": ("agent in each", "clean exit", "no socket left"),
    "call": ("agent in each", "clean exit", "no socket left"),
}
Result = dict[str, tuple[str, str]]


def cell(host: Host, ways: tuple[str, ...]) -> dict[str, Any]:
    """Run a host in these ways."""
    missing = [name for name in host.needs if version(name) is None]
    if missing:
        return {"host": host.name, "missing": f"{missing[0]} is not installed here"}
    if host.needs_broker and not broker.is_here():
        return {"host": host.name, "missing": broker.MISSING}
    return {
        "host": host.name,
        "versions": {name: version(name) for name in host.needs},
        "ways": {way: in_one_way(host, way) for way in ways},
    }


def version(distribution: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return None


def in_one_way(host: Host, way: str) -> Result:
    """Start a host, check it, end it for certain."""
    home = Path(tempfile.mkdtemp(prefix="lh-"))
    results: Result = {}
    try:
        with contextlib.ExitStack() as stack:
            redis = None
            if host.needs_broker:
                redis = stack.enter_context(broker.running_redis(home))
            running = start(host, way, home, redis)
            stack.callback(running.kill)
            check(running, results)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return results


def check(running: Running, results: Result) -> None:
    """Give it tasks, then make the checks of its way, in order."""

    def begin(running: Running) -> str:
        running.feed(running.host.tasks, FIRST_GATE)
        running.wait_for_tasks(running.host.tasks)
        return ""

    if not attempt("starts", begin, running, results):
        return
    for name in WAYS[running.way]:
        attempt(name, CHECKS[name], running, results)


def attempt(
    name: str, step: Callable[[Running], str], running: Running, results: Result
) -> bool:
    """Make one check and note what came out."""
    try:
        results[name] = (OK, step(running))
    except NotApplicable as reason:
        results[name] = (NONE, str(reason))
    except Exception as exc:
        said = running.stderr[-1500:]
        results[name] = (FAILED, f"{type(exc).__name__}: {exc}"[:500])
        print(
            f"{slug(running.host)} {running.way} {name}: {exc}\n{said}", file=sys.stderr
        )
    return results[name][0] != FAILED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("--ways", default=",".join(WAYS))
    given = parser.parse_args()
    host = next(host for host in named(given.host) if slug(host) == given.host)
    print(json.dumps(cell(host, tuple(given.ways.split(",")))))


if __name__ == "__main__":
    main()
