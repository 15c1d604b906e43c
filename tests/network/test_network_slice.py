"""A slice of `make test-network`: a cable pulled in a download, a host replaced."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from network.hosts import (
    AS_ROOT,
    HOME,
    Machine,
    Sshd,
    Wire,
    network,
    serving,
    until,
    wire,
)
from spawn import WORKERS, Stage, eventually

pytestmark = AS_ROOT
CANNOT_CONNECT = 3
BALLAST = 60_000
QUICK = {"LIVEHEAP_SSH": "ssh -o ServerAliveInterval=1 -o ServerAliveCountMax=2"}


@dataclass
class Site:
    """A desk and a server with a leaking worker, on one wire."""

    desk: Machine
    web: Machine
    cable: Wire
    sshd: Sshd


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        desk, web = network(stack, "desk", "web-1")
        cable = wire(stack, 1, desk, web)
        sshd = serving(stack, web)
        sshd.invite(desk)
        stage = Stage()
        stack.callback(stage.close)
        program = web.command("python", WORKERS / "gevent_leak.py", BALLAST)
        stage.spawn_command(program, env=web.environ(LIVEHEAP_DIR=""))
        eventually(web.workers, what="the worker is listed")
        yield Site(desk, web, cable, sshd)


def test_a_cable_that_is_pulled_in_mid_download_and_put_back(site: Site) -> None:
    site.cable.slow_down(site.desk, 40)
    before = site.desk.received()
    client = site.desk.start(
        *("liveheap", "snapshot", "web-1", "-o", f"{HOME}/web.liveheap"), env=QUICK
    )
    assert client.stderr

    eventually(lambda: site.desk.received() > before + 500_000, what="some has come")
    site.cable.unplug(site.desk)
    said = until("going on with the snapshot", client.stderr)
    site.cable.plug(site.desk)
    _, rest = client.communicate(timeout=60)

    assert client.returncode == 0, said + rest
    assert [path.name for path in site.desk.path(HOME).glob("web*")] == ["web.liveheap"]
    answer = site.desk.liveheap("backrefs", "Letter", f"{HOME}/web.liveheap").stdout
    assert "x20" in answer


def test_a_host_that_was_replaced_is_not_talked_to(site: Site) -> None:
    site.desk.liveheap("status", "web-1", "--no-mux")
    site.sshd.replace_key()

    done = site.desk.liveheap("status", "web-1", "--no-mux", expect=CANNOT_CONNECT)

    assert "Host key verification failed" in done.stderr
    assert "going on" not in done.stderr
