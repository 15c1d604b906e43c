"""Leaks that real programs have, in a real worker: each is found by who holds it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker

ROUNDS = 4
PATHS = {
    "ByKey": "__main__.RESULTS[*]",
    "OfClass": "__main__.Handler.seen[*]",
    "InCell": '__main__.count closure "history"[*]',
    "Cached": "__main__.look_up.<cache>[*]",
    "PerThread": "['items'][*]",
    "InFrame": 'consume() at real_leaks.py:LINE local "backlog" [*]',
    "InTask": ' poll() at real_leaks.py:LINE local "pending" [*]',
    "OfSingleton": "__main__.REGISTRY.entries[*]",
    "InDefault": "__main__.remember.__defaults__[*][*]",
    "ValueError": "__main__.FAILURES[*]",
    "InGenerator": ' open_stream() at real_leaks.py:LINE local "buffer" [*]',
}
TIPS = {
    "InTraceback": ["__traceback__", "[*]", ".FAILURES"],
    "ByKey": [".RESULTS"],
    "OfClass": [".seen", ".Handler"],
    "Cached": [".<cache>", ".look_up"],
    "InDefault": ["[*]", "__defaults__", ".remember"],
    "OfSingleton": [".entries", ".REGISTRY"],
}


@pytest.fixture
def rounds(
    spawn_worker: Callable[..., Worker], worker_python: str, tmp_path: Path
) -> tuple[list[Path], dict[str, str]]:
    """Snapshots of a worker that leaks between each of them."""
    worker = spawn_worker("real_leaks", python=worker_python)
    worker.wait_for_socket()
    files = [tmp_path / f"{number}.liveheap" for number in range(ROUNDS)]
    for path in files:
        worker.say("leak")
        liveheap("snapshot", worker.pid, "-o", path, env=worker.environ)
    return files, worker.environ


def test_every_leak_is_named_by_its_holder_and_nothing_else_is_suspected(rounds):
    files, env = rounds
    report = json.loads(liveheap("diff", "--json", *files, env=env).stdout)
    kept = {s["type"].removeprefix("__main__."): s for s in report["suspects"]}
    kept = {kind: s for kind, s in kept.items() if s["growth_per_round"] >= 40}
    assert kept.keys() == PATHS.keys()
    for kind, expected in PATHS.items():
        assert kept[kind]["counts"] == [80, 120, 160, 200], kind
        holder, _, type_name = kept[kind]["path"].rpartition(" -> ")
        assert type_name.removeprefix("__main__.") == kind
        before, _, after = expected.partition("LINE")
        assert holder.endswith(after), kind
        assert before in holder, kind
    first = [s["type"].removeprefix("__main__.") for s in report["suspects"]]
    assert set(first[: len(PATHS)]) == PATHS.keys()
    assert len(first) < len(PATHS) + 5


def test_who_refers_to_the_leaked_objects_is_told_up_to_the_holder(rounds):
    files, env = rounds
    for kind, expected in TIPS.items():
        done = liveheap("backrefs", "--json", kind, files[-1], env=env)
        tree = json.loads(done.stdout)
        assert tree["count"] == 200, kind
        edges = []
        while tree["children"]:
            tree = tree["children"][0]
            edges.append(tree["edge"])
        assert edges[-len(expected) :] == expected, kind
        assert tree["label"] == "module __main__", kind
