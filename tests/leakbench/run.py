"""liveheap on real leaks: set up, hunt, score, and write tests/bench/leakbench.md.

    LEAKBENCH=DIR make leakbench                     everything, about 20 minutes
    python tests/leakbench/run.py --only NAME ...    some cases, to stdout
    python tests/leakbench/run.py --kept --only NAME the rounds of the last run again
    python tests/leakbench/run.py --resume           only what this commit has not run
    python tests/leakbench/run.py --again NAME ...   some cases; the others as kept

LEAKBENCH names the bench of released leaks (its README tells what a machine needs);
without it only the extra cases beside this file are run. Environments, rounds and
screens go under LEAKBENCH_HOME, and each row as soon as it is there. The released cases
run one after the other, for they share ports; beside them the extra ones, `--jobs` at
a time, all on the processors that the caller leaves them.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import extras
import judge
import released
import table
from environments import ROOT, Failed, Wheels, run
from judge import Row

PAGE = ROOT / "tests" / "bench" / "leakbench.md"
VARIANTS = ("leak", "control", "late")
LATE = ("celery_mmdc_frames", "celery_gevent_redis_conns", "gunicorn_greenlet_py311")
Task = Callable[[], Row]


def main() -> int:
    given = arguments()
    home = given.home.resolve()
    wheels = Wheels(home / "wheels")
    try:
        rows = measured(given, home, wheels)
    except Failed as failed:
        print(f"leakbench: {failed}", file=sys.stderr)
        return 1
    command = f"liveheap {given.verb} PID --rounds 5 --interval 10"
    text = table.page(rows, command, kept=given.kept)
    print(text)
    if given.record:
        PAGE.write_text(text)
    return 0


def arguments() -> argparse.Namespace:
    default = os.environ.get("LEAKBENCH_HOME") or "~/.cache/leakbench"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", type=Path, default=os.environ.get("LEAKBENCH"))
    parser.add_argument("--home", type=Path, default=Path(default).expanduser())
    parser.add_argument(
        "--liveheap", default=str(Path(sys.executable).parent / "liveheap")
    )
    parser.add_argument("--verb", default="leaks")
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--no-extra", action="store_true", help="released cases only")
    parser.add_argument("--kept", action="store_true", help="analyse kept rounds again")
    parser.add_argument("--jobs", type=int, default=2, help="extra cases at a time")
    parser.add_argument("--again", nargs="*", default=[], help="names of cases")
    parser.add_argument("--resume", action="store_true", help="keep this commit's rows")
    parser.add_argument("--record", action="store_true", help="write leakbench.md")
    return parser.parse_args()


def measured(given: argparse.Namespace, home: Path, wheels: Wheels) -> list[Row]:
    """Return a row per case and variant, in the order of the cases."""
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(given.jobs) as several:
        rows = [
            pool.submit(remembered, given, out, make)
            for pool, tasks in (
                (one, released_tasks(given, home, wheels)),
                (several, extra_tasks(given, home, wheels)),
            )
            for out, make in tasks
        ]
        return [row.result() for row in rows]


def remembered(given: argparse.Namespace, out: Path, make: Task) -> Row:
    """Return what this commit made of a case before, or make it, and keep it."""
    path, now = out / "row.json", table.commit()
    if path.exists() and (given.resume or given.again):
        kept = Row(**json.loads(path.read_text()))
        others = given.again and kept.case not in given.again
        if others or (given.resume and kept.commit == now):
            return kept
    row = make()
    row.commit = now
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(row)))
    print(json.dumps(asdict(row)), file=sys.stderr, flush=True)
    return row


def released_tasks(
    given: argparse.Namespace, home: Path, wheels: Wheels
) -> Iterator[tuple[Path, Task]]:
    """Yield what is to be run one after the other."""
    if not given.bench:
        return
    folder = given.bench.resolve()
    started = released.Bench(folder, home, wheels)
    late = released.Bench(folder, home / "late", wheels, late=True)
    for case in started.cases():
        for variant in given.variants:
            bench = late if variant == "late" else started
            control = variant == "control"
            if not wanted(given, case.name) or (control and case.control == "none"):
                continue
            if variant == "late" and case.name not in LATE:
                continue
            out = home / "liveheap" / f"{case.name}.{variant}"
            yield (
                out,
                partial(released_row, given, bench, case, variant=variant, out=out),
            )


def released_row(
    given: argparse.Namespace,
    bench: released.Bench,
    case: released.Case,
    *,
    variant: str,
    out: Path,
) -> Row:
    try:
        if not given.kept:
            shutil.rmtree(out, ignore_errors=True)
            command = [given.liveheap, given.verb, "--rounds", "5", "--interval", "10"]
            bench.hunt(case, out, command, control=variant == "control")
        report = analysed(given, out)
        row = judge.row_of(case.name, variant, out, report)
    except Failed as failed:
        row = judge.failed(case.name, variant, str(failed))
        row.origin = "released"
        return row
    row.origin = "released"
    if variant == "control":
        return judge.control(row)
    score = bench.points(case, out / "report.json")
    return judge.released(row, bench.truth(case), score, report)


def extra_tasks(
    given: argparse.Namespace, home: Path, wheels: Wheels
) -> Iterator[tuple[Path, Task]]:
    """Yield what may be run at the same time."""
    if given.no_extra:
        return
    chosen = [(n, a) for n, a in extras.answers().items() if wanted(given, n)]
    python = None
    if chosen and not given.kept:
        python = extras.environment(home, wheels)
    for name, answer in chosen:
        out = home / "liveheap" / f"extra.{name}"
        yield out, partial(extra_row, given, python, name, answer=answer, out=out)


def extra_row(
    given: argparse.Namespace,
    python: Path | None,
    name: str,
    *,
    answer: dict[str, Any],
    out: Path,
) -> Row:
    variant = answer["variant"]
    try:
        if python is not None:
            shutil.rmtree(out, ignore_errors=True)
            options = [given.verb, "--rounds", "5", "--interval", "2"]
            extras.hunt(python, name, out, [given.liveheap, *options])
        report = analysed(given, out)
    except Failed as failed:
        return judge.failed(name, variant, str(failed))
    return judge.extra(judge.row_of(name, variant, out, report), answer, report)


def analysed(given: argparse.Namespace, out: Path) -> judge.Report:
    """Return the report on kept rounds as JSON; with --kept, also the screen anew."""
    rounds = sorted(str(path) for path in (out / "rounds").glob("*.liveheap"))
    if len(rounds) < 2:
        raise Failed(f"{out}: {len(rounds)} rounds")
    command = [given.liveheap, given.verb, *rounds]
    if given.kept:
        (out / "screen.txt").write_text(run(command))
    text = run([*command, "--json"])
    (out / "report.json").write_text(text)
    report: judge.Report = json.loads(text)
    return report


def wanted(given: argparse.Namespace, name: str) -> bool:
    return not given.only or name in given.only


if __name__ == "__main__":
    sys.exit(main())
