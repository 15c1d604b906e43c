"""The benchmark: every figure that liveheap promises, beside its rivals, in one run.

    python tests/bench/run.py                    about ten minutes, 1 M objects
    python tests/bench/run.py --objects 10000000 the big heap: what depends on the size
    python tests/bench/run.py --quick            does it run at all
    python tests/bench/run.py --record           also into results.md and the README

The table goes to stdout, progress to stderr. A target that is missed is a line that
says so and not an exit code: a busy machine is not a bug. Look at the load average and
at the ticker at rest before you believe a pause.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import agent_rows
import clone_rows
import completeness
import dominator_rows
import engine_rows
import growth_rows
import host_rows
import hostile_rows
import label_rows
import memory_rows
import residence_rows
import ssh_rows
from driver import Failed, running_target
from table import Row, circumstances, markdown

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
COMMAND = "python tests/bench/run.py --record"
USUAL_OBJECTS = 1_000_000
MEMORY_OBJECTS = 8_000_000
USUAL_PAIRS, BIG_PAIRS = 31, 7


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    objects: int
    pairs: int
    rest_s: float
    pings: int
    memory_objects: int
    leaks_objects: int
    task_pairs: int
    """Of batches of tasks, with the agent and without it in turn."""
    sizeless: bool
    """Also what is the same for a heap of any size."""


def main() -> int:
    given = arguments()
    plan = plan_of(given)
    lines = [*circumstances(plan.objects), ""]
    rows = []
    for row in measured(plan, given.only):
        rows.append(row)
        print("  ".join(filter(None, row.cells())), file=sys.stderr, flush=True)
    lines.append(markdown(rows))
    text = "\n".join(lines)
    print(text)
    if given.record:
        record(text, objects=plan.objects)
    return 0


def plan_of(given: argparse.Namespace) -> Plan:
    """Return how much to measure; of a big heap less often, or it would take hours."""
    if given.quick:
        return Plan(60_000, 4, 3.0, 50, 60_000, 120_000, 9, True)
    objects = given.objects
    big = objects > MEMORY_OBJECTS
    pairs = given.pairs or (BIG_PAIRS if big else USUAL_PAIRS)
    leaks_objects = objects if big else 2 * objects
    return Plan(objects, pairs, 60.0, 500, MEMORY_OBJECTS, leaks_objects, 240, not big)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=USUAL_OBJECTS)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--quick", action="store_true", help="does it run at all")
    parser.add_argument("--table", action="store_true", help="the default; for scripts")
    parser.add_argument(
        "--record", action="store_true", help="write results.md, and the README's table"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="some parts, by their functions' names here: task_rows, cloned_rows, ...",
    )
    given = parser.parse_args()
    if given.only and given.record:
        parser.error("a record is of all parts")
    return given


def measured(plan: Plan, only: list[str] | None = None) -> Iterator[Row]:
    """Yield every row; a part that fails is a row that says how."""
    parts = [aged_rows, leaks_rows, fresh_rows]
    if plan.sizeless:
        parts += [memory_and_rest_rows, where_memory_goes_rows]
        parts += [cloned_rows, task_rows, whole_host_rows, over_ssh_rows]
        parts += [besieged_rows, completeness.rows]
    for part in parts if only is None else [p for p in parts if p.__name__ in only]:
        yield from guarded(part.__name__, part(plan))


def guarded(name: str, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows; if they end with a failure, one more that says so."""
    try:
        yield from rows
    except Failed as failure:
        yield Row(name.replace("_", " "), "failed", beside=str(failure))


def aged_rows(plan: Plan) -> Iterator[Row]:
    label = f"{plan.objects / 1e6:g} M aged"
    with running_target(plan.objects, "aged") as target:
        yield Row(f"RSS of the target, {label}", f"{target.facts['rss'] / 1e6:.0f} MB")
        yield engine_rows.rest_row(target, 2.0)
        paired = engine_rows.measure_pairs(target, plan.pairs)
        yield from engine_rows.pause_rows(paired, label)
        yield engine_rows.timeline_row(paired, label)
        yield from engine_rows.walk_rows(paired, "aged")
        yield from guarded("growth rows", growth_rows.growth_rows(target, plan.objects))
        yield from residence_rows.ticker_rows(target, label)
        rows = dominator_rows.dominator_rows(target, plan.objects)
        yield from guarded("dominator rows", rows)
        yield from engine_rows.rival_rows(target, paired, label)


def leaks_rows(plan: Plan) -> Iterator[Row]:
    with running_target(plan.leaks_objects, "aged") as target:
        yield from growth_rows.leaks_rows(target, plan.leaks_objects)


def fresh_rows(plan: Plan) -> Iterator[Row]:
    with running_target(plan.objects, "fresh") as target:
        paired = engine_rows.measure_pairs(target, max(plan.pairs // 3, 2))
        yield from engine_rows.walk_rows(paired, "fresh")


def memory_and_rest_rows(plan: Plan) -> Iterator[Row]:
    with running_target(plan.memory_objects, "fresh") as target:
        yield memory_rows.memory_row(target)
        yield from agent_rows.agent_rows(target, rest_s=plan.rest_s, pings=plan.pings)


def cloned_rows(plan: Plan) -> Iterator[Row]:
    """A worker of a gigabyte: five thirds of the objects of the other memory rows."""
    is_whole = plan.objects >= USUAL_OBJECTS
    yield from clone_rows.clone_rows(
        plan.memory_objects * 5 // 3,
        pairs=5 if is_whole else 2,
        batch_s=20.0 if is_whole else 1.0,
    )


def whole_host_rows(_plan: Plan) -> Iterator[Row]:
    yield from host_rows.host_rows()


def besieged_rows(plan: Plan) -> Iterator[Row]:
    is_whole = plan.objects >= USUAL_OBJECTS
    yield from hostile_rows.hostile_rows(rounds=hostile_rows.ROUNDS if is_whole else 1)


def over_ssh_rows(plan: Plan) -> Iterator[Row]:
    yield from ssh_rows.ssh_rows(plan.objects, max(plan.pairs // 2, 3))


def task_rows(plan: Plan) -> Iterator[Row]:
    yield from label_rows.label_rows(pairs=plan.task_pairs)


def where_memory_goes_rows(plan: Plan) -> Iterator[Row]:
    is_whole = plan.objects >= USUAL_OBJECTS
    yield from residence_rows.residence_rows(scale=1.0 if is_whole else 0.02)


def record(text: str, *, objects: int) -> None:
    """Write the results; of the usual size also between the marks in the README."""
    usual = objects == USUAL_OBJECTS
    command = COMMAND if usual else f"{COMMAND} --objects {objects}"
    block = f"`{command}`\n\n{text}\n"
    name = "results.md" if usual else f"results-{objects // 1_000_000}M.md"
    results = Path(__file__).with_name(name)
    results.write_text(f"# The last recorded run\n\n{block}", encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if usual and begin and end:
        README.write_text(f"{head}{begin}\n{block}{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
