"""Hunt in one running worker as a user would, and note what it cost the worker.

    python hunt.py [--late[=AGENT]] OUT PID LIVEHEAP VERB [OPTION...]

Runs `LIVEHEAP VERB PID OPTION... --keep OUT/rounds`, puts what a person would see on
stdout and into OUT/screen.txt, and the worker's RSS over the hunt into OUT/rss.json.
With --late the worker has no agent: one is brought in first (that of this client, or
AGENT), which OUT/inject.json tells of, and leaves afterwards.
The rounds stay, so that a better analysis can be tried on them without a new run.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

PAGE = 4096
EVERY_S = 0.2


def rss_of(pid: int) -> int | None:
    """Return the resident bytes of a process; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return None


def watch(pid: int, samples: list[tuple[float, int]], over: threading.Event) -> None:
    """Sample until told that it is over."""
    begun = time.monotonic()
    while not over.wait(EVERY_S):
        size = rss_of(pid)
        if size is not None:
            samples.append((round(time.monotonic() - begun, 2), size))


def _said(command: list[str]) -> str:
    """Run a command that has to work; return what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done.stdout


def main() -> int:
    words = sys.argv[1:]
    late = words.pop(0) if words[0].startswith("--late") else None
    out, pid, liveheap, verb, *options = words
    folder = Path(out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    samples: list[tuple[float, int]] = []
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(int(pid), samples, over))
    watcher.start()
    if late is not None:
        agent = late.partition("=")[2]
        more = ["--agent", agent] if agent else []
        told = _said([liveheap, "inject", pid, "--yes", "--json", *more])
        (folder / "inject.json").write_text(told)
    command = [liveheap, verb, pid, *options, "--keep", str(folder / "rounds")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if late is not None:
        _said([liveheap, "detach", pid])
    over.set()
    watcher.join()
    (folder / "screen.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    (folder / "rss.json").write_text(json.dumps(samples))
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
