"""The matrix: every host on every CPython, each through the checks of a worker's life.

    make test-hosts                                     all of it, about half an hour
    make test-hosts HOSTS=celery PYTHONS='3.11 3.12'   by the beginnings of names
    make test-hosts RECORD=--record                     also into results.md and README
    make test-hosts RECORD='--again --record'           run what failed the last time

The table goes to stdout, each cell to stderr as it ends. CPython 3.14 and 3.15 run in
the chroot of .ci/newpythons.sh where this machine has none. A cell is a process of its
own, and is ended with all that it started after a time. Exit code 1: a check failed.
Of a cell that was run again the record says so, and of what it had failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hosts import environments, table
from hosts.catalogue import HOSTS, Host, named, slug

CELL_S = 240
RESULTS = environments.PROJECT / "build" / "hosts"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")

Cell = dict[str, Any]


def main() -> int:
    given = arguments()
    chosen = [host for word in given.hosts for host in named(word)]
    hosts = list(dict.fromkeys(chosen)) if given.hosts else list(HOSTS)
    if not hosts:
        raise SystemExit(f"no such host; there are: {' '.join(map(slug, HOSTS))}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = environments.interpreters()
    if given.inside:
        run_all(given.inside, f"python{given.inside}", hosts, given.jobs)
        return 0
    results = {}
    commit = table.commit()
    for version in given.pythons or PYTHONS:
        before = last_time(version) if given.again else {}
        due = [host for host in hosts if is_due(before.get(host.name))]
        fresh = of_one_python(version, found.get(version), due, given.jobs)
        results[version] = kept(version, hosts, before, fresh, commit)
    table.show(results, hosts)
    if given.record:
        table.record(results, hosts)
    return 1 if table.has_failures(results) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", nargs="*", default=[], help="beginnings of names")
    parser.add_argument("--pythons", nargs="*", default=[], choices=[*PYTHONS])
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--again", action="store_true", help="only what failed last")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.record and (given.hosts or given.pythons):
        parser.error("--record is for the whole matrix")
    return given


def last_time(version: str) -> dict[str, Cell]:
    """Return the cells of a Python as they were last, by host."""
    file = RESULTS / f"{version}.json"
    cells = json.loads(file.read_text()) if file.exists() else []
    return {cell["host"]: cell for cell in cells}


def is_due(before: Cell | None) -> bool:
    """Return whether a cell is to be run: it never was, or it failed."""
    return before is None or bool(table.faults(before))


def kept(
    version: str,
    hosts: list[Host],
    before: dict[str, Cell],
    fresh: list[Cell],
    commit: str,
) -> list[Cell]:
    """Put fresh cells in the place of those before, and keep them for the next time."""
    cells = dict(before)
    for cell in fresh:
        old = before.get(cell["host"], {})
        failed = [*old.get("at_first", ()), *table.faults(old)]
        again = {"at_first": failed} if failed else {}
        cells[cell["host"]] = {**cell, "commit": commit, **again}
    (RESULTS / f"{version}.json").write_text(json.dumps([*cells.values()], indent=1))
    return [cells[host.name] for host in hosts]


def of_one_python(
    version: str, interpreter: str | None, hosts: list[Host], jobs: int
) -> list[Cell]:
    """Return the cells of one Python, wherever it is."""
    if not hosts:
        return []
    if interpreter is not None:
        return run_all(version, interpreter, hosts, jobs)
    if version not in environments.NEWEST or not environments.is_root():
        reason = f"no CPython {version} here"
        return [{"host": host.name, "missing": reason} for host in hosts]
    words = ["python" + version, "tests/hosts/run.py", "--inside", version]
    names = [slug(host) for host in hosts]
    script = '.ci/system.sh redis-server=redis-server && exec "$@"'
    subprocess.run(
        [
            *(".ci/newpythons.sh", "bash", "-c", script, "bash"),
            *(*words, "--jobs", str(jobs), "--hosts", *names),
        ],
        cwd=environments.PROJECT,
        check=True,
    )
    return list(json.loads((RESULTS / f"{version}.json").read_text()))


def run_all(version: str, interpreter: str, hosts: list[Host], jobs: int) -> list[Cell]:
    """Run the cells of one Python of this file system; keep what came out."""
    say(f"CPython {version}: environment")
    possible = [host for host in hosts if not is_too_new(version, host)]
    refused = {
        name: environments.make(version, interpreter, name)
        for name in sorted({host.environment for host in possible})
    }

    def one(host: Host) -> dict[str, Any]:
        began = time.monotonic()
        reason = why_not(version, host, refused)
        result = (
            {"host": host.name, "missing": reason} if reason else cell(version, host)
        )
        took = time.monotonic() - began
        say(f"CPython {version}, {host.name}: {table.word(result)} ({took:.0f} s)")
        return result

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, hosts))
    (RESULTS / f"{version}.json").write_text(json.dumps(results, indent=1))
    return results


def why_not(version: str, host: Host, refused: dict[str, dict[str, str]]) -> str:
    """Return why a host cannot be on a Python; nothing if it can."""
    if is_too_new(version, host):
        return host.too_new
    bad = refused[host.environment]
    return next((f"{name}: {bad[name]}" for name in host.needs if name in bad), "")


def is_too_new(version: str, host: Host) -> bool:
    """Return whether a Python is newer than any that the host runs on."""
    return bool(host.newest) and minor(version) > minor(host.newest)


def minor(version: str) -> int:
    return int(version.partition(".")[2])


def cell(version: str, host: Host) -> Cell:
    """Run one cell in a process of its own, bounded in time."""
    log = RESULTS / f"{version}-{slug(host)}.log"
    place = environments.folder(version, host.environment)
    words = [str(place / "bin" / "python"), "-m", "hosts.cell"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*words, slug(host)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=CELL_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # the cell ends what it started
            process.communicate()
            return {"host": host.name, "broken": f"not done in {CELL_S} s"}
    try:
        return dict(json.loads(said.splitlines()[-1]))
    except (IndexError, ValueError):
        return {
            "host": host.name,
            "broken": f"exit code {process.returncode}: see {log.name}",
        }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
