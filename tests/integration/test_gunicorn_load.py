"""A gunicorn gevent worker under load keeps answering while it is snapshotted."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from command_line import liveheap
from gunicorn_site import Site, start_site
from load import Load
from spawn import Stage

# Six objects each; by hand LIVEHEAP_ORDERS=350000 makes it two millions.
ORDERS = int(os.environ.get("LIVEHEAP_ORDERS", "90000"))
SNAPSHOTS = 5
LONGER_BY_S = 5.0


@pytest.fixture
def site(stage: Stage) -> Site:
    return start_site(stage, ballast=ORDERS)


def test_no_request_fails_during_snapshots(
    site: Site,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with Load(site.port) as load:
        load.wait_for(200)
        at_rest = list(load.latencies_s)
        for number in range(SNAPSHOTS):
            file = tmp_path / f"{number}.liveheap"
            words = ("snapshot", site.pid, "-o", file, "--json")
            facts = json.loads(liveheap(*words, env=site.master.environ).stdout)
            load.wait_for(20)

    during = load.latencies_s[len(at_rest) :]
    figures = {
        "requests": len(load.latencies_s),
        "median_at_rest_ms": round(median(at_rest) * 1e3, 1),
        "longest_at_rest_ms": round(max(at_rest) * 1e3, 1),
        "median_during_ms": round(median(during) * 1e3, 1),
        "longest_during_ms": round(max(during) * 1e3, 1),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)
    assert load.failures == []
    assert load.bodies == {b"%d" % site.pid}
    assert "WORKER TIMEOUT" not in site.master.stderr
    assert facts["trailer"]["nodes"] > 5 * ORDERS
    assert max(during) < max(at_rest) + LONGER_BY_S


def test_diff_and_gc_of_a_busy_site_fail_no_request(site: Site) -> None:
    with Load(site.port) as load:
        load.wait_for(50)
        liveheap("gc", site.pid, env=site.master.environ)
        liveheap("histogram", site.pid, env=site.master.environ)
        liveheap(
            "diff", site.pid, "--interval", 1, "--rounds", 2, env=site.master.environ
        )

    assert load.failures == []
    assert load.bodies == {b"%d" % site.pid}


def test_two_workers_are_listed_and_asked_one_by_one(stage: Stage) -> None:
    site = start_site(stage, ballast=100, workers=2)
    for pid in site.pids:
        answer = liveheap("status", pid, "--json", env=site.master.environ).stdout

        assert json.loads(answer)["pid"] == pid
