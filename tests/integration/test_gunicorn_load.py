"""A gunicorn gevent worker under load keeps answering while it is snapshotted."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from command_line import liveheap
from load import Load
from spawn import WORKERS, Stage, Worker
from ssh_server import free_port

BALLAST = 100_000
TIMEOUT_S = 5
SNAPSHOTS = 5


@dataclass
class Site:
    """A gunicorn master, its only worker and the port they serve."""

    master: Worker
    pid: int
    port: int


@pytest.fixture
def site(stage: Stage) -> Site:
    port = free_port()
    master = stage.spawn_command(
        [
            *(sys.executable, "-m", "gunicorn", "gunicorn_app:app"),
            *("--chdir", str(WORKERS), "--worker-class", "gevent", "--workers", "1"),
            *("--bind", f"127.0.0.1:{port}", "--timeout", str(TIMEOUT_S)),
        ],
        env={"BALLAST": str(BALLAST)},
        end_signal=signal.SIGQUIT,
    )
    pid = int(master.said.split()[0])
    master.wait_for_socket(pid)
    return Site(master, pid, port)


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
            liveheap("snapshot", site.pid, "-o", file, env=site.master.environ)
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
    assert max(during) < TIMEOUT_S


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
    master = stage.spawn_command(
        [
            *(sys.executable, "-m", "gunicorn", "gunicorn_app:app"),
            *("--chdir", str(WORKERS), "--worker-class", "gevent", "--workers", "2"),
            *("--bind", f"127.0.0.1:{free_port()}"),
        ],
        env={"BALLAST": "100"},
        end_signal=signal.SIGQUIT,
    )
    first = int(master.said.split()[0])
    master.wait_until_ready()
    second = int(master.said.split()[0])
    for pid in (first, second):
        master.wait_for_socket(pid)

        answer = liveheap("status", pid, "--json", env=master.environ).stdout

        assert f'"pid": {pid}' in answer or f'"pid":{pid}' in answer
