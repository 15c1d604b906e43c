"""`memory` and `trim` from the command line, against a real worker."""

import json
from pathlib import Path

from command_line import liveheap
from spawn import Worker

from liveheap_client.analysis.breakdown import PARTS

USAGE = 2


def test_memory_and_what_grew_since(
    worker: Worker, env: dict[str, str], tmp_path: Path
) -> None:
    report = json.loads(liveheap("memory", worker.pid, "--json", env=env).stdout)
    record = report["memory"]
    (tmp_path / "earlier.json").write_text(json.dumps(report))
    again = liveheap(
        "memory", worker.pid, "--since", str(tmp_path / "earlier.json"), env=env
    )

    assert record["pid"] == worker.pid
    assert sum(record[name] for name in PARTS) == record["rss"]
    assert report["growth"] is None
    assert "Python objects" in again.stdout
    assert "growth" in again.stdout
    assert "open files:" in again.stdout


def test_memory_looks_twice_and_walks(worker: Worker, env: dict[str, str]) -> None:
    words = ("--interval", "0.2", "--walk", "--json")
    report = json.loads(liveheap("memory", worker.pid, *words, env=env).stdout)

    for record in (report["since"], report["memory"]):
        assert record["walked_bytes"] > record["walked_objects"] > 1000
    assert set(report["growth"]) == {"rss", *PARTS}


def test_trim_says_what_it_gave_back(worker: Worker, env: dict[str, str]) -> None:
    told = json.loads(liveheap("trim", worker.pid, "--json", env=env).stdout)

    assert told["rss_before"] - told["rss_after"] <= told["given_back"] + 4096
    assert told["seconds"] >= 0


def test_two_ways_to_compare_exclude_each_other(
    worker: Worker, env: dict[str, str]
) -> None:
    words = ("--since", "a.json", "--interval", "5")
    done = liveheap("memory", worker.pid, *words, env=env, expect=USAGE)

    assert "exclude each other" in done.stderr
