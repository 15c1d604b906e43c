"""The report page of a 1 M-object heap, and the page's checks in a real browser.

Five rounds of the benchmark's heap become a page as a user makes one; Chromium opens it
and sorts its longest table. Then tests/browser/check_report.py runs. `--record` writes
report.md beside this file: by `make report-check`, for CI has no browser.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "browser"))

from chromium import Browser
from driver import Target, liveheap, running_target
from table import Row, circumstances, markdown

HERE = Path(__file__).parent
CHECKS = HERE.parent / "browser" / "check_report.py"
COMMAND = "make report-check"
USUAL_OBJECTS = 1_000_000
ROUNDS = 5
GROWN_RECORDS = 500
MOST_BYTES = 5_000_000
TYPES = "document.querySelector('#table-types')"
SORTED = f"""
(() => {{
  const before = performance.now();
  {TYPES}.querySelectorAll("th button")[1].click();
  {TYPES}.getBoundingClientRect();
  return performance.now() - before;
}})()
"""


def main() -> int:
    """Measure, check, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=USUAL_OBJECTS)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    lines = [*circumstances(options.objects), ""]
    with tempfile.TemporaryDirectory(prefix="lh-report-") as name:
        page, seconds = made(options.objects, Path(name))
        rows = [*page_rows(page, seconds)]
    checks = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(CHECKS)],
        capture_output=True,
        text=True,
        check=False,
    )
    last = checks.stdout.strip().splitlines()[-1]
    rows.append(Row("checks in Chromium", last, "all pass", met=checks.returncode == 0))
    text = "\n".join([*lines, markdown(rows)])
    print(text)
    if checks.returncode:
        print(checks.stdout)
    if options.record:
        head = f"# The report page, last recorded run\n\n`{COMMAND}`\n\n"
        (HERE / "report.md").write_text(f"{head}{text}\n", encoding="utf-8")
    return 0 if all(row.met is not False for row in rows) else 1


def made(objects: int, directory: Path) -> tuple[Path, float]:
    """Take rounds of a growing heap; return their page and how long it took."""
    with running_target(objects, "aged") as target:
        files = [*rounds(target, directory)]
        page = directory / "report.html"
        before = time.perf_counter()
        liveheap("report", *files, "-o", page, environ=target.environ)
        return page, time.perf_counter() - before


def rounds(target: Target, directory: Path) -> Iterator[Path]:
    with target.caller() as caller:
        for number in range(ROUNDS):
            target.do("grow", records=GROWN_RECORDS)
            file = directory / f"round-{number}.liveheap"
            target.whole_way(caller, file)
            yield file


def page_rows(page: Path, seconds: float) -> Iterator[Row]:
    size = page.stat().st_size
    yield Row(f"`liveheap report` of {ROUNDS} files", f"{seconds:.1f} s")
    yield Row(
        "the page",
        f"{size / 1e6:.2f} MB",
        "<= 5 MB for a 1 M-object heap",
        met=size <= MOST_BYTES,
    )
    with Browser.started() as browser:
        before = time.perf_counter()
        browser.open(page)
        opened = time.perf_counter() - before
        sorting_ms = browser.evaluate(SORTED)
        complaints, requests = browser.complaints(), browser.requests()
    yield Row("opened in a headless Chromium", f"{opened * 1000:.0f} ms")
    yield Row("its table of types sorted", f"{sorting_ms:.1f} ms")
    yield Row(
        "errors in its console, requests to anybody",
        f"{len(complaints)}, {len(requests) - 1}",
        "none",
        met=not complaints and len(requests) == 1,
    )


if __name__ == "__main__":
    sys.exit(main())
