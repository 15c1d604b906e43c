"""`make fuzz`: a million inputs for every place where a stranger's bytes are read.

    python tests/fuzz/run.py                each target a million times, led by coverage
    python tests/fuzz/run.py --runs 20000   does it run at all
    python tests/fuzz/run.py --record       also into results.md

Found is: an exception that the target does not know, an input that takes over ten
seconds, memory over a gigabyte (libFuzzer's own limits). Each find lies in build/fuzz
and is repeated by one.py. Then a live worker under load is sent what the targets in
memory cannot show (live.py). Exit code 1 if anything was found.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from bench.table import commit  # noqa: E402
from fuzz import live  # noqa: E402
from fuzz.targets import TARGETS, Target  # noqa: E402

RESULTS = HERE / "results.md"
FOUND = Path("build/fuzz")
RUNS = 1_000_000
LONGEST_INPUT_S = 10
MOST_MEMORY_MB = 1024
SEED = 20261122


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target."""

    name: str
    inputs: int
    seconds: float
    coverage: int
    memory_mb: int
    finds: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.inputs:,}",
            f"{self.seconds:.0f} s",
            f"{self.coverage:,}",
            f"{self.memory_mb} MB",
            ", ".join(self.finds) or "nothing",
        )


def main() -> int:
    given = arguments()
    began = time.time()
    chosen = [
        target for target in TARGETS if not given.only or target.name in given.only
    ]
    with ThreadPoolExecutor(given.jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda target: fuzz(target, given.runs), chosen):
            outcomes.append(outcome)
            print("  ".join(outcome.cells()), file=sys.stderr, flush=True)
    lines = list(report(outcomes))
    lived = live.send(given.live)
    lines += ["", *lived.lines()]
    text = "\n".join([*circumstances(given.runs, time.time() - began), "", *lines])
    print(text)
    if given.record:
        RESULTS.write_text(f"# What fuzzing found\n\n`make fuzz`\n\n{text}\n")
    return 1 if lived.faults or any(outcome.finds for outcome in outcomes) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--live", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


def fuzz(target: Target, runs: int) -> Outcome:
    """Run one target in a process of its own."""
    place = FOUND / target.name.replace(" ", "-")
    corpus, seeds = place / "corpus", place / "seeds"
    for directory in (corpus, seeds):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / str(number)).write_bytes(seed)
    before = set(finds(place))
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "one.py"), target.name),
            *(f"-runs={runs}", f"-seed={SEED}", f"-max_len={target.longest}"),
            *(f"-timeout={LONGEST_INPUT_S}", f"-rss_limit_mb={MOST_MEMORY_MB}"),
            *(f"-artifact_prefix={place}/", "-print_final_stats=1"),
            *(str(corpus), str(seeds)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    (place / "log").write_text(done.stdout + done.stderr)
    found = sorted(set(finds(place)) - before)
    if done.returncode and not found:
        found = [f"exit code {done.returncode}, see {place}/log"]
    return Outcome(
        target.name,
        number_after("number_of_executed_units:", done.stderr),
        time.monotonic() - began,
        number_after("cov:", done.stderr),
        number_after("peak_rss_mb:", done.stderr),
        tuple(found),
    )


def finds(place: Path) -> Iterator[str]:
    """Yield what libFuzzer has left: crash-..., timeout-..., oom-..."""
    for file in place.iterdir():
        if re.match("(crash|timeout|oom|slow-unit|leak)-", file.name):
            yield str(file)


def number_after(label: str, text: str) -> int:
    """Return the last number that stands behind a label; 0 if there is none."""
    found = re.findall(re.escape(label) + r"\s*(\d+)", text)
    return int(found[-1]) if found else 0


def report(outcomes: list[Outcome]) -> Iterator[str]:
    titles = ("what is read", "inputs", "time", "coverage", "memory", "found")
    yield "| " + " | ".join(titles) + " |"
    yield "| " + " | ".join(["---"] * len(titles)) + " |"
    for outcome in outcomes:
        yield "| " + " | ".join(outcome.cells()) + " |"


def circumstances(runs: int, seconds: float) -> Iterator[str]:
    yield f"- {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit()}"
    yield f"- {runs:,} inputs each, {seconds / 60:.0f} minutes in all"
    yield "- coverage: branches of our code that were taken, as libFuzzer counts them"


if __name__ == "__main__":
    sys.exit(main())
