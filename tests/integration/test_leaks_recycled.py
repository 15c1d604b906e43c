"""A worker that ends while `leaks` waits for its next round: told, and no crash."""

import json
import re
from collections.abc import Callable

from command_line import starting
from spawn import Worker


def test_the_rounds_that_were_taken_are_still_told(
    spawn_worker: Callable[..., Worker],
) -> None:
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    words = ("leaks", worker.pid, "--rounds", 5, "--interval", "1s", "--json")
    hunt = starting(*map(str, words), env=worker.environ)
    assert hunt.stderr is not None
    for line in hunt.stderr:
        if line.startswith("round 2/5"):
            worker.kill()
            break
    out, _ = hunt.communicate(timeout=60)
    report = json.loads(out)

    assert hunt.returncode == 0
    assert report["verdict"]["kind"] == "undecided"
    notes = " ".join(report["notes"])
    assert re.search("ended before round [34]", notes), notes
