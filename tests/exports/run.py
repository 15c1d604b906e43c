"""Everything that `liveheap export` writes, read by the consumers' own code.

    make export-check                   all of it; the page is tests/bench/exports.md
    python tests/exports/run.py --quick without the large heaps, to stdout

A live pair of snapshots with 2,000 leaked objects between, the smallest file with exact
answers, heaps that are hard to export, and the writers' time and memory on large heaps.
A row whose program is not here says so and fails the check.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), *(str(TESTS / name) for name in ("unit", "bench"))]

import consumers  # noqa: E402 - found by the line above
import heapsnapshot_reader  # noqa: E402 - as above
import samples  # noqa: E402 - as above
from spawn import Stage  # noqa: E402 - as above
from table import circumstances  # noqa: E402 - as above

from liveheap_client.analysis.graph import HeapGraph  # noqa: E402 - as above
from liveheap_client.export.heapsnapshot import (  # noqa: E402 - as above
    HeapsnapshotExporter,
)

PAGE = TESTS / "bench" / "exports.md"
LIVEHEAP = (sys.executable, "-m", "liveheap_client")
LEAKED = "__main__.Leaked"
SECRET = "quetzalcoatlus"
LARGE, LARGER = 1_000_000, 3_000_000
WRITER_S, WRITER_BYTES_A_NODE = 15.0, 400
COLUMNS = ("consumer", "what", "expected", "found", "ok")


@dataclass(frozen=True)
class Row:
    consumer: str
    what: str
    expected: str
    found: str
    ok: bool

    def cells(self) -> tuple[str, ...]:
        return (
            *(self.consumer, self.what, self.expected, self.found),
            "yes" if self.ok else "**no**",
        )


@dataclass(frozen=True)
class Run:
    """One command of ours: its result, and what it took."""

    result: dict[str, Any]
    seconds: float
    cpu_s: float
    rss: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    head = list(circumstances(LARGE))
    rows = []
    with tempfile.TemporaryDirectory(prefix="lh-exports-") as name:
        for row in measured(Path(name), quick=given.quick):
            rows.append(row)
            print(" | ".join(row.cells()), file=sys.stderr, flush=True)
    page = "\n".join(
        ["# Exports, read by their consumers", "", *_head(head), table(rows)]
    )
    print(page)
    if given.record:
        PAGE.write_text(page + "\n", encoding="utf-8")
    return 0 if all(row.ok for row in rows) else 1


def _head(circumstances_: Sequence[str]) -> Iterator[str]:
    yield "`make export-check`"
    yield ""
    yield from circumstances_
    for program in (["node", "--version"], ["go", "version"], ["dot", "-V"]):
        yield f"- {' '.join(program[:1])}: {_version(program)}"
    package = json.loads((Path(__file__).parent / "package.json").read_text())
    yield from (f"- {name} {v}" for name, v in package["dependencies"].items())
    yield ""


def _version(program: list[str]) -> str:
    try:
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "missing"
    return (done.stdout or done.stderr).strip()


def table(rows: Sequence[Row]) -> str:
    """Return the rows with their columns aligned."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def measured(directory: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows, a consumer that is missing as one that fails."""
    stage = Stage()
    try:
        pair = live_pair(stage, directory)
        parts: list[Callable[[], Iterator[Row]]] = [
            lambda: minimal(directory),
            lambda: traps(directory),
            lambda: compared(pair, directory),
            lambda: profiled(pair, directory),
            lambda: tabled(pair, directory),
            lambda: drawn(pair, directory),
        ]
        if not quick:
            parts.append(lambda: large(stage, directory))
            parts.append(lambda: larger(stage, directory))
        for part in parts:
            try:
                yield from part()
            except consumers.Missing as exc:
                yield Row("", "", "", str(exc).splitlines()[0], False)
    finally:
        stage.close()


def same(consumer: str, what: str, expected: object, found: object) -> Row:
    return Row(consumer, what, str(expected), str(found), expected == found)


def live_pair(stage: Stage, directory: Path) -> list[Path]:
    """Return two snapshots of one worker, 2,000 leaked objects apart."""
    worker = stage.spawn("canaries", SECRET)
    worker.wait_for_socket()
    files = []
    for name in ("old", "new"):
        files.append(directory / f"{name}.liveheap")
        liveheap("snapshot", worker.pid, "-o", files[-1], env=worker.environ)
        worker.say("more")
    return files


def liveheap(*words: object, env: dict[str, str] | None = None) -> Run:
    """Run a command of ours; its memory is the most that it had at once."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*LIVEHEAP, *map(str, words), "--json"], stdout=subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"liveheap {' '.join(map(str, words))} failed")
    return Run(
        result=json.loads(said),
        seconds=time.monotonic() - began,
        cpu_s=used.ru_utime + used.ru_stime,
        rss=used.ru_maxrss * 1024,
    )


def exported(files: Sequence[Path], format_name: str, directory: Path) -> list[Path]:
    run = liveheap(
        "export", *files, "--format", format_name, "-o", directory / format_name
    )
    return [Path(row["path"]) for row in run.result["exports"]]


def minimal(directory: Path) -> Iterator[Row]:
    place = directory / "minimal.heapsnapshot"
    samples.write_minimal(place, more="lone \udc80")
    found = consumers.devtools(place)
    classes = found["files"][0]["classes"]
    yield same("DevTools", "minimal file: total", 352, found["files"][0]["total"])
    for name, size in {"module app": 352, "dict": 280, "app.Leaky": 48}.items():
        what = f"minimal file: {name} retains"
        yield same("DevTools", what, size, classes[name]["retained"])


def traps(directory: Path) -> Iterator[Row]:
    places = {name: directory / f"{name}.heapsnapshot" for name in samples.TRAPS}
    for name, make in samples.TRAPS.items():
        samples.export(HeapsnapshotExporter(), make(), places[name])
    found = consumers.devtools(*places.values())
    files = dict(zip(places, found["files"], strict=True))
    yield same("DevTools", "complaints over hard heaps", [], found["complaints"])
    cycle = files["cycle"]["classes"]["app.Node"]["count"]
    yield same("DevTools", "unreachable cycle: objects", 2, cycle)
    yield same("DevTools", "4 GiB object: total", 0xFFFF_FFFF, files["giant"]["total"])
    names = {f"app.{name}" for name in samples.HOSTILE} | {f"app.{samples.LONG[:255]}…"}
    seen = len(names & set(files["names"]["classes"]))
    yield same("DevTools", "hostile and long names that arrive", len(names), seen)
    yield same("DevTools", "empty heap: nodes", 2, files["empty"]["nodes"])


def compared(pair: Sequence[Path], directory: Path) -> Iterator[Row]:
    places = exported(pair, "heapsnapshot", directory)
    found = consumers.devtools(*places)
    diff = found["diff"][LEAKED]
    told = f"added {diff['added']} removed {diff['removed']}"
    yield same("DevTools", "live pair: comparison", "added 2000 removed 0", told)
    yield same("DevTools", "live pair: complaints", [], found["complaints"])
    graph = HeapGraph.load(pair[1])
    (ours,) = (
        int(graph.dominators.retained[module.node])
        for module in graph.modules
        if module.name == "__main__"
    )
    theirs = found["files"][1]["classes"]["module __main__"]["retained"]
    yield same("DevTools", "live: module __main__ retains, as we say", ours, theirs)
    read = heapsnapshot_reader.read(places[1])
    known = found["files"][1]["nodes"]
    yield same("DevTools", "live: nodes, as our reader counts", len(read.nodes), known)
    secret = SECRET in places[1].read_text()
    yield same("own reader", "live: a value of the worker is inside", False, secret)


def profiled(pair: Sequence[Path], directory: Path) -> Iterator[Row]:
    old, new = exported(pair, "pprof", directory)
    shown = consumers.pprof(
        *("-sample_index=retained_objects", "-top", "-base", old, new)
    )
    (line,) = [one for one in shown.splitlines() if one.endswith(f"-> {LEAKED}")]
    yield same("go tool pprof", "live pair: -base", "2000", line.split()[0])
    shown = consumers.pprof("-sample_index=retained_objects", "-top", "-cum", new)
    listed = [one for one in shown.splitlines() if one.endswith("CACHE -> list")]
    held = int(listed[0].split()[3]) if listed else 0
    yield Row("go tool pprof", "held by CACHE", ">= 4000", str(held), held >= 4000)
    shown = consumers.pprof("-raw", new)
    yield same("go tool pprof", "a value is inside", False, SECRET in shown)


def tabled(pair: Sequence[Path], directory: Path) -> Iterator[Row]:
    try:
        import duckdb
    except ImportError as exc:
        raise consumers.Missing(str(exc)) from exc

    places = exported(pair, "parquet", directory)
    path = f"__main__.CACHE[*] -> {LEAKED}"
    for place, count in zip(places, (2000, 4000), strict=True):
        sql = f"select count(*) from '{place}/nodes.parquet' where path = '{path}'"
        found = duckdb.sql(sql).fetchall()[0][0]
        yield same("DuckDB", f"{place.name}: objects at the path", count, found)
    graph = HeapGraph.load(pair[1])
    sql = f"select sum(bytes)::bigint, count(*) from '{places[1]}/nodes.parquet'"
    ours = (int(graph.size.sum()), graph.n_nodes)
    yield same("DuckDB", "bytes and rows", ours, duckdb.sql(sql).fetchall()[0])


def drawn(pair: Sequence[Path], directory: Path) -> Iterator[Row]:
    place = directory / "dominators.dot"
    liveheap("export", pair[1], "--format", "dot", "-o", place)
    svg = consumers.graphviz(place)
    yield same("Graphviz", "dominator tree names the type", True, LEAKED in svg)
    backrefs = directory / "backrefs.dot"
    words = ("--format", "dot", "--type", LEAKED, "-o", backrefs)
    liveheap("export", pair[1], *words)
    svg = consumers.graphviz(backrefs)
    yield same("Graphviz", "backrefs name the module", True, "module __main__" in svg)


def snapshot_of(stage: Stage, directory: Path, objects: int) -> Path:
    command = [sys.executable, str(Path(__file__).with_name("large.py")), str(objects)]
    worker = stage.spawn_command(command)
    worker.wait_for_socket()
    place = directory / f"{objects}.liveheap"
    words = ("snapshot", worker.pid, "-o", place, "--max-pause", 1000)
    liveheap(*words, env=worker.environ)
    worker.end()
    return place


def large(stage: Stage, directory: Path) -> Iterator[Row]:
    snapshot = snapshot_of(stage, directory, LARGE)
    loading = liveheap("histogram", snapshot)
    yield Row("", f"{LARGE:,} objects: load only", "", _cost(loading), True)
    for name in ("heapsnapshot", "pprof", "parquet", "dot"):
        place = directory / f"large-{name}"
        run = liveheap("export", snapshot, "--format", name, "-o", place)
        (row,) = run.result["exports"]
        size = sum(f.stat().st_size for f in [place, *place.glob("*")] if f.is_file())
        budget = WRITER_BYTES_A_NODE * LARGE
        found = f"{_cost(run)}, writer {row['seconds']:.1f} s, {size / 1e6:.0f} MB"
        expected = f"<= {WRITER_S:.0f} s, <= {budget / 1e6:.0f} MB"
        ok = row["seconds"] <= WRITER_S and run.rss <= budget
        yield Row("", f"{row['nodes']:,} objects as {name}", expected, found, ok)
    found = consumers.devtools(directory / "large-heapsnapshot")
    (file,) = found["files"]
    text = f"{file['ms'] / 1e3:.1f} s, {file['rss'] / 1e6:.0f} MB"
    yield Row("DevTools", f"{file['nodes']:,} nodes: load", "", text, True)
    yield same("DevTools", "complaints", [], found["complaints"])


def larger(stage: Stage, directory: Path) -> Iterator[Row]:
    snapshot = snapshot_of(stage, directory, LARGER)
    place = directory / "larger.heapsnapshot"
    run = liveheap("export", snapshot, "--format", "heapsnapshot", "-o", place)
    (row,) = run.result["exports"]
    yield Row("", f"{LARGER:,} objects: {row['notes'][-1]}", "", _cost(run), True)
    found = consumers.devtools(place)
    (file,) = found["files"]
    yield same("DevTools", "nodes of it", row["nodes"], file["nodes"])
    yield same("DevTools", "complaints", [], found["complaints"])


def _cost(run: Run) -> str:
    cost = f"{run.seconds:.1f} s ({run.cpu_s:.1f} s CPU)"
    return f"{cost}, {run.rss / 1e6:.0f} MB in all"


if __name__ == "__main__":
    sys.exit(main())
