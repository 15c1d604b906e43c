"""Make report.png, the README's picture: the report page of the demo's worker.

    python docs/make_picture.py        (needs Chromium, and liveheap[cli,gevent])

Worker, rounds and page are those of a user, made by the commands that a user types; of
the page only the host's name is taken out, for it would be the picture maker's.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))

from chromium import Browser

from liveheap_client.demo import processes
from liveheap_client.demo.tour import WORKER

OUT = Path(__file__).with_name("report.png")
ROUNDS, INTERVAL_S = "5", "4"
WIDTH, HEIGHT = 1120, 1160
MOST_BYTES = 200_000
DEADLINE_S = 90.0
WITHOUT_HOST = """
Array.from(document.querySelectorAll(".facts dt"))
  .filter((name) => name.textContent === "Host")
  .forEach((name) => name.parentElement.remove())
"""


def main() -> int:
    """Run the worker, take rounds, make the page, take its picture."""
    with tempfile.TemporaryDirectory(prefix="liveheap-picture-") as name:
        directory = Path(name)
        page = made(directory)
        with Browser.started(width=WIDTH, height=HEIGHT) as browser:
            browser.open(page)
            browser.evaluate(WITHOUT_HOST)
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}
            browser.screenshot(OUT, clip=clip)
    size = OUT.stat().st_size
    print(f"{OUT}: {size:,} bytes")
    return 0 if size <= MOST_BYTES else 1


def made(directory: Path) -> Path:
    """Return the page of the demo worker's rounds."""
    environ = processes.private_environ(directory, width=80)
    program = Path(shutil.copy(WORKER, directory))
    until = time.monotonic() + DEADLINE_S
    with processes.running_worker(program, environ, until=until) as worker:
        words = ["--interval", INTERVAL_S, "--rounds", ROUNDS, "--keep", "rounds"]
        liveheap("diff", str(worker.pid), *words, directory=directory, environ=environ)
    files = sorted(map(str, (directory / "rounds").glob("*.liveheap")))
    liveheap("report", *files, "-o", "r.html", directory=directory, environ=environ)
    return directory / "r.html"


def liveheap(*words: str, directory: Path, environ: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "liveheap_client", *words]
    subprocess.run(command, cwd=directory, env=environ, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
