"""The benchmark: every figure that liveheap promises, beside its rivals, in one run.

    python tests/bench/run.py                    a quarter of an hour, 1 M objects
    python tests/bench/run.py --objects 10000000 the big heap: what depends on the size
    python tests/bench/run.py --quick            does it run at all
    python tests/bench/run.py --only PART ...    some parts
    python tests/bench/run.py --record           also into results.md and the README

The tables go to stdout, progress to stderr. A target that is missed is a line that
says so and not an exit code: a busy machine is not a bug. Look at the load average and
at the ticker at rest before you believe a pause.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
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
import record
import residence_rows
import ssh_rows
from driver import Failed, running_target
from table import Row, circumstances

from liveheap.errors import LiveheapError

HERE = Path(__file__).parent
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
    for name, rows in measured(plan, given.only):
        said = tuple(circumstances(plan.objects))
        part = record.Part.of(said, told(rows))
        print(f"## {name}\n", *said, "", record.aligned(part.rows), "", sep="\n")
        if given.record:
            keep(name, part, objects=plan.objects)
    return 0


def told(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        print("  ".join(filter(None, row.cells())), file=sys.stderr, flush=True)
        yield row


def plan_of(given: argparse.Namespace) -> Plan:
    """Return how much to measure; of a big heap less often, or it would take hours."""
    if given.quick:
        return Plan(60_000, 4, 3.0, 50, 60_000, 120_000, 90, True)
    objects = given.objects
    big = objects > MEMORY_OBJECTS
    pairs = given.pairs or (BIG_PAIRS if big else USUAL_PAIRS)
    leaks_objects = objects if big else 2 * objects
    return Plan(objects, pairs, 60.0, 500, MEMORY_OBJECTS, leaks_objects, 4500, not big)


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
        help="some parts, by their names in results.md: tasks, cloned, ...",
    )
    given = parser.parse_args()
    names = [part_name(part) for part in PARTS]
    if unknown := set(given.only or ()) - set(names):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(names)}")
    return given


def measured(
    plan: Plan, only: list[str] | None = None
) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield the parts by name; in one that fails a row says how."""
    parts = PARTS if plan.sizeless else OF_A_SIZE
    for part in parts:
        name = part_name(part)
        if only is None or name in only:
            yield name, guarded(name, part(plan))


def part_name(part: Callable[[Plan], Iterator[Row]]) -> str:
    return part.__name__.removesuffix("_rows").replace("_", "-")


def guarded(name: str, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows; if they end with a failure, one more that says so."""
    try:
        yield from rows
    except (Failed, LiveheapError) as failure:
        yield Row(name, "failed", beside=str(failure))


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
    batches = clone_rows.Batches(11, 2, 12.0, 60.0)
    yield from clone_rows.clone_rows(
        plan.memory_objects * 5 // 3,
        batches if is_whole else clone_rows.Batches(3, 1, 1.0, 3.0),
    )


def whole_host_rows(_plan: Plan) -> Iterator[Row]:
    yield from host_rows.host_rows()


def besieged_rows(plan: Plan) -> Iterator[Row]:
    is_whole = plan.objects >= USUAL_OBJECTS
    yield from hostile_rows.hostile_rows(rounds=hostile_rows.ROUNDS if is_whole else 1)


def over_ssh_rows(plan: Plan) -> Iterator[Row]:
    yield from ssh_rows.ssh_rows(plan.objects, max(plan.pairs // 2, 3))


def spooled_rows(plan: Plan) -> Iterator[Row]:
    """A heap with a snapshot of 200 MB, so that no start is in the figure."""
    yield from ssh_rows.spool_rows(plan.memory_objects * 5 // 2)


def tasks_rows(plan: Plan) -> Iterator[Row]:
    yield from label_rows.label_rows(pairs=plan.task_pairs)


def where_memory_goes_rows(plan: Plan) -> Iterator[Row]:
    is_whole = plan.objects >= USUAL_OBJECTS
    yield from residence_rows.residence_rows(scale=1.0 if is_whole else 0.02)


def completeness_rows(_plan: Plan) -> Iterator[Row]:
    yield from completeness.rows()


OF_A_SIZE = (aged_rows, leaks_rows, fresh_rows)
PARTS = (
    *OF_A_SIZE,
    memory_and_rest_rows,
    where_memory_goes_rows,
    cloned_rows,
    tasks_rows,
    whole_host_rows,
    over_ssh_rows,
    spooled_rows,
    besieged_rows,
    completeness_rows,
)


def keep(name: str, part: record.Part, *, objects: int) -> None:
    """Replace a part in the results; one of the usual size in the README too."""
    usual = objects == USUAL_OBJECTS
    size = "" if usual else f"-{objects // 1_000_000}M"
    results = HERE / f"results{size}.md"
    kept = {**record.read(results), name: part}
    order = [part_name(each) for each in PARTS]
    ordered = {each: kept[each] for each in order if each in kept}
    record.write(results, ordered)
    if usual:
        record.publish(ordered)


if __name__ == "__main__":
    sys.exit(main())
