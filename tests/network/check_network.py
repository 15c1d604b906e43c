"""Real machines of namespaces and what happens between them: `make test-network`.

    desk -- office -- jump -- rack -- web-1 (a leaking gevent worker)

Only through the jump host does one come from the desk to the server. Not collected by a
plain `pytest`: a download that breaks off, is given up, or freezes takes its time.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from network.hosts import (
    AS_ROOT,
    HOME,
    Sshd,
    Wire,
    network,
    serving,
    until,
    wire,
)
from spawn import WORKERS, Stage, Worker, eventually

pytestmark = AS_ROOT
CANNOT_CONNECT = 3
BALLAST = 100_000
QUICK = {"LIVEHEAP_SSH": "ssh -o ServerAliveInterval=1 -o ServerAliveCountMax=2"}
DEAF = {"LIVEHEAP_SSH": "ssh -o ServerAliveInterval=0"}
BAD_LINK = Path(__file__).with_name("bad_link.py")


class Site:
    """The machines, and the worker on the last of them."""

    def __init__(self, stack: ExitStack) -> None:
        self.size = 0
        shown = [Path(os.environ.get("LIVEHEAP_DESK_VENV", "/nowhere"))]
        shown = [each for each in shown if each.exists()]
        self.desk, self.jump, self.web = network(
            stack, "desk", "jump", "web-1", shown=shown
        )
        self.office: Wire = wire(stack, 1, self.desk, self.jump)
        self.at_jump: Sshd = serving(stack, self.jump)
        self.at_jump.invite(self.desk)
        self.gate = self.jump.address
        self.rack: Wire = wire(stack, 2, self.jump, self.web)
        self.at_web: Sshd = serving(stack, self.web)
        self.at_web.invite(self.desk, jump="jump")
        with self.desk.path(f"{HOME}/.ssh/config").open("a") as config:
            config.write(
                f"Host slow-web\n  HostName {self.gate}\n  Port 2222\n  User root\n"
                "  HostKeyAlias web-1\n  StrictHostKeyChecking yes\n"
            )
        self.stage = Stage()
        stack.callback(self.stage.close)

    def worker(self) -> Worker:
        """Start the worker anew; it is listed when this returns."""
        program = self.web.command("python", WORKERS / "gevent_leak.py", BALLAST)
        env = self.web.environ(LIVEHEAP_DIR="", LIVEHEAP_ALLOW="exec")
        worker = self.stage.spawn_command(program, env=env)
        eventually(lambda: len(self.web.workers()) == 1, what="the worker is listed")
        return worker

    def end_worker(self) -> None:
        """Kill the worker that runs."""
        self.web.run("pkill", "-KILL", "-f", "gevent_leak.py", expect=None)
        eventually(lambda: not self.web.workers(), what="the worker is gone")

    def plug_in(self) -> None:
        """Put the desk's cable back, and wait until the jump host is met again.

        A kernel that asked for a neighbour in vain while the cable was out fails
        whoever asks beside it, for a moment longer: `No route to host`.
        """
        self.office.plug(self.desk)
        eventually(
            lambda: self.desk.reaches(self.gate, 22), what="the desk reaches jump"
        )

    def hang_up(self) -> None:
        """End the logins that ssh shares."""
        self.desk.run("pkill", "-x", "ssh", expect=None)
        eventually(
            lambda: not any("ssh" in each for each in self.desk.processes()),
            what="no login is shared any more",
        )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        site = Site(stack)
        site.worker()
        yield site


@pytest.fixture
def new_site() -> Iterator[Site]:
    """Machines that nobody has come to yet."""
    with ExitStack() as stack:
        site = Site(stack)
        site.worker()
        yield site


@pytest.fixture(autouse=True)
def as_found(site: Site) -> Iterator[None]:
    """After each test: cables in, one worker, no shared login, no file at the desk."""
    yield
    site.plug_in()
    site.hang_up()
    for path in site.desk.path(HOME).glob("web*"):
        path.unlink()
    if len(site.web.workers()) != 1:
        site.end_worker()
        site.worker()
    assert not site.web.path("/tmp/core").exists()


def downloading(
    site: Site, env: dict[str, str], *words: str
) -> "subprocess.Popen[str]":
    """Start a download at a rate at which it can be met in the middle."""
    site.office.slow_down(site.desk, 20)
    place = f"{HOME}/web.liveheap"
    return site.desk.start(
        "liveheap", "snapshot", "web-1", "-o", place, *words, env=env
    )


def has_come(
    site: Site, client: "subprocess.Popen[str]", before: int, n_bytes: float
) -> None:
    """Wait until more than so much has reached the desk, whose client goes on."""

    def is_here() -> bool:
        is_over = client.poll() is not None
        is_enough = site.desk.received() - before > n_bytes
        assert is_enough or not is_over, "its client has ended"
        return is_enough

    try:
        eventually(is_here, what=f"{n_bytes} bytes come")
    except AssertionError as exc:
        seen = [each.seen() for each in (site.desk, site.jump, site.web)]
        client.kill()
        told = [str(exc), *client.communicate(), *seen]
        raise AssertionError("\n".join(told)) from exc


def is_whole(site: Site) -> bool:
    names = [path.name for path in site.desk.path(HOME).glob("web*")]
    answer = site.desk.liveheap("backrefs", "Letter", f"{HOME}/web.liveheap").stdout
    return names == ["web.liveheap"] and "x20" in answer


def whole_size(site: Site) -> int:
    """Return how many bytes a whole download is, from one."""
    if site.size == 0:
        before = site.desk.received()
        client = downloading(site, QUICK)
        _, said = client.communicate(timeout=60)
        assert client.returncode == 0, said
        site.desk.path(f"{HOME}/web.liveheap").unlink()
        site.size = site.desk.received() - before
        site.hang_up()
    return site.size


def test_attach_and_leaks_lead_through_the_jump_host(site: Site) -> None:
    shell = site.desk.liveheap("attach", "web-1", stdin="status\nexit\n")
    [row] = site.web.workers()
    assert str(row["pid"]) in shell.stdout
    assert json.loads(site.desk.liveheap("ps", "web-1", "--json").stdout)[0]["pid"]

    told = site.desk.liveheap(
        "leaks", "web-1", "--interval", "1", "--rounds", "5"
    ).stdout

    assert "Leak:" in told
    assert "LEDGER.entries" in told


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_cable_that_is_pulled_anywhere_in_a_download(
    site: Site, share: float
) -> None:
    size = whole_size(site)
    before = site.desk.received()
    client = downloading(site, QUICK)
    assert client.stderr

    has_come(site, client, before, share * size)
    site.office.unplug(site.desk)
    if share == 0:  # no login stands yet, so there is nothing to go on with
        _, said = client.communicate(timeout=120)
        assert client.returncode == CANNOT_CONNECT, said
        assert not list(site.desk.path(HOME).glob("web*"))
        return
    try:
        said = until("going on with the snapshot", client.stderr)
    except AssertionError:  # its last word had come already
        said = ""
    site.office.plug(site.desk)
    _, rest = client.communicate(timeout=120)

    assert client.returncode == 0, said + rest
    assert is_whole(site)


def test_a_cable_that_is_pulled_three_times_running(site: Site) -> None:
    size = whole_size(site)
    client = downloading(site, QUICK)
    assert client.stderr
    for _ in range(3):
        before = site.desk.received()
        has_come(site, client, before, size / 6)
        site.office.unplug(site.desk)
        until("going on with the snapshot", client.stderr)
        site.office.plug(site.desk)
    _, said = client.communicate(timeout=120)

    assert client.returncode == 0, said
    assert is_whole(site)


def test_a_link_that_freezes_is_noticed_by_our_own_timeout(site: Site) -> None:
    size = whole_size(site)
    before = site.desk.received()
    client = downloading(site, DEAF, "--timeout", "4")
    assert client.stderr

    has_come(site, client, before, size / 2)
    site.office.unplug(site.desk)
    said = until("going on with the snapshot", client.stderr)
    assert "waited 4 s" in said
    site.office.plug(site.desk)
    _, rest = client.communicate(timeout=120)

    assert client.returncode == 0, said + rest
    assert is_whole(site)


def test_a_link_that_stays_cut_is_given_up_and_leaves_no_file(
    site: Site,
) -> None:
    size = whole_size(site)
    before = site.desk.received()
    client = downloading(site, QUICK, "--connect-timeout", "2")

    has_come(site, client, before, size / 2)
    site.office.unplug(site.desk)
    _, said = client.communicate(timeout=180)

    assert client.returncode == CANNOT_CONNECT, said
    assert said.count("going on with the snapshot") == 5
    assert "5 attempts" in said
    assert not list(site.desk.path(HOME).glob("web*"))


def test_a_worker_recycled_while_the_cable_was_out_is_not_mistaken(
    site: Site,
) -> None:
    size = whole_size(site)
    before = site.desk.received()
    client = downloading(site, QUICK)
    assert client.stderr

    has_come(site, client, before, size / 2)
    site.office.unplug(site.desk)
    site.end_worker()
    site.worker()
    until("going on with the snapshot", client.stderr)
    site.office.plug(site.desk)
    _, said = client.communicate(timeout=120)

    assert client.returncode == CANNOT_CONNECT, said
    assert re.search(r"process \d+ is gone; \d+ answers in its place", said)
    assert not list(site.desk.path(HOME).glob("web*"))


def test_a_host_replaced_while_the_cable_was_out_is_not_talked_to(site: Site) -> None:
    size = whole_size(site)
    before = site.desk.received()
    client = downloading(site, QUICK)
    assert client.stderr

    has_come(site, client, before, size / 2)
    site.office.unplug(site.desk)
    until("going on with the snapshot", client.stderr)
    site.at_web.replace_key()
    site.office.plug(site.desk)
    _, said = client.communicate(timeout=120)

    assert client.returncode == CANNOT_CONNECT, said
    assert "Host key verification failed" in said
    assert not list(site.desk.path(HOME).glob("web*"))
    site.at_web.make_known(site.desk)


def test_a_slow_link_that_loses_connections_still_brings_the_whole(site: Site) -> None:
    lost = [900_000, 700_000, 800_000]
    link = site.jump.start("python", BAD_LINK, 2222, site.web.address, 22, 60, *lost)
    assert link.stdout
    try:
        assert link.stdout.readline() == "up\n"
        place = f"{HOME}/web.liveheap"
        done = site.desk.liveheap("snapshot", "slow-web", "-o", place, "--no-mux")
    finally:
        link.kill()
        link.communicate()
    assert done.stderr.count("going on with the snapshot") == len(lost)
    assert is_whole(site)


def test_a_gateway_behind_two_logins_leads_to_the_worker(site: Site) -> None:
    gateway = site.web.start("liveheap", "gateway", "--listen", "127.0.0.1:7070")
    assert gateway.stderr
    try:
        assert "listening" in gateway.stderr.readline()
        [row] = json.loads(site.desk.liveheap("ps", "web-1:7070", "--json").stdout)
        target, place = f"web-1:7070/{row['pid']}", f"{HOME}/web.liveheap"
        status = site.desk.liveheap("status", target, "--json").stdout
        assert json.loads(status)["pid"] == row["pid"]
        site.desk.liveheap("snapshot", target, "-o", place)
        assert is_whole(site)
    finally:
        site.web.run("pkill", "-TERM", "-f", "liveheap gateway")
        gateway.communicate(timeout=30)
    assert not any("gateway" in line for line in site.web.processes())


def test_a_new_user_looks_at_everything_and_leaves_no_trace(new_site: Site) -> None:
    site = new_site
    site.desk.venv = Path(os.environ.get("LIVEHEAP_DESK_VENV", site.desk.venv))
    [row] = site.web.workers()
    before = traces(site)

    listed = site.desk.liveheap("ps", "web-1").stdout
    shell = site.desk.liveheap("attach", "web-1", stdin="status\ntasks\nexit\n").stdout
    assert str(row["pid"]) in listed
    assert str(row["pid"]) in shell
    heap = site.desk.liveheap("clone", "web-1", "-c", "h[0].byvia").stdout
    assert "Partition of a set" in heap
    lines = ["import gc", "print(type(gc).__name__, 6 * 7)"]
    told = site.desk.liveheap("console", "web-1", "-c", "\n".join(lines)).stdout
    assert "module 42" in told
    site.desk.run("ssh", "-O", "exit", "-o", control_path(site), "web-1", expect=None)
    site.hang_up()

    eventually(lambda: traces(site) == before, what=f"no trace: {traces(site)}")


def control_path(site: Site) -> str:
    return f"ControlPath={HOME}/.cache/liveheap/cm-%C"


def traces(site: Site) -> list[list[str]]:
    """Return all processes and files of both ends, but for the log and the lock."""
    found = []
    for machine in (site.desk, site.web):
        serving = [each for each in machine.processes() if "sshd: root" not in each]
        known = ("audit.log", "heavy.lock")  # as SECURITY.md says
        kept = [each for each in machine.files() if Path(each).name not in known]
        found += [serving, kept]
    return found
