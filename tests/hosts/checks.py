"""The checks of one cell, in the order of a worker's life.

Each is a function of a running host. It returns a note for the table, raises
AssertionError with the reason if the promise is broken, or NotApplicable.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from hosts import broker
from hosts.catalogue import CRASH, HUP
from hosts.running import WAIT_S, Running, start
from spawn import eventually

from liveheap import registry

PARCELS = 250
FIRST_GATE, NO_GATE = "gate-1", ""
QUEUE = "rq:queue:default"
SLOWEST_PING_S = 2.0
PINGS = 5
MOST_PINGED = 8
# What no agent may cause on anybody's standard error.
SHAME = (
    "liveheap",
    "Exception ignored",
    "SystemError",
    "Fatal Python",
    "MonkeyPatchWarning",
    "_set_done",
    "Bad file descriptor",
)


class NotApplicable(Exception):
    """The check has no meaning for this host; the text says why."""


def has_agents(running: Running) -> str:
    """Every Python process has an agent of its own, which knows the process's role."""
    wait_for_agents(running)
    for pid in (listed := running.workers()):
        told = running.status(pid)["pid"]
        assert told == pid, f"{pid} answers as {told}"
    if running.host.masterless:
        assert running.pid not in listed, "the master has an agent"
    roles = known_roles(running)
    return ", ".join(f"{count} {role}" for role, count in sorted(roles.items()))


def known_roles(running: Running) -> Counter[str]:
    """Return how many play which role, once who starts up is past being an `app`.

    A process that is no fork has an agent before it has imported its framework.
    """
    # From 3.14 on multiprocessing's usual way is to have a server fork.
    expected = {*running.host.roles, "forkserver"}
    roles: Counter[str] = Counter()

    def are_known() -> bool:
        nonlocal roles
        roles = Counter(str(running.status(pid)["role"]) for pid in running.workers())
        return running.way == "call" or {*roles, "forkserver"} == expected

    try:
        eventually(are_known, what="the roles", deadline_s=WAIT_S)
    except AssertionError as late:
        raise AssertionError(f"{dict(roles)}, not {expected}") from late
    return roles


def wait_for_agents(running: Running) -> None:
    """Return when every process that should have an agent is listed."""

    def missing() -> set[int]:
        wanted = {told.pid for told in running.tasks()}
        if running.way != "call":
            wanted |= running.pythons()
        if running.host.masterless:
            wanted.discard(running.pid)
        return wanted - set(running.workers())

    try:
        eventually(lambda: not missing(), what="agents", deadline_s=WAIT_S)
    except AssertionError as late:  # one that comes up after that has time of its own
        raise AssertionError(f"no agent in {sorted(missing())}") from late


def answers_under_load(running: Running) -> str:
    """While the tasks compute, every agent answers soon."""
    figures = []
    for pid in list(running.workers())[:MOST_PINGED]:
        with running.session(pid) as session:
            for _ in range(PINGS):
                began = time.monotonic()
                session.request("status")
                figures.append(time.monotonic() - began)
    assert max(figures) < SLOWEST_PING_S, f"{max(figures):.1f} s for a status"
    return f"{sorted(figures)[len(figures) // 2] * 1000:.1f} ms"


def finds_the_parcels(running: Running) -> str:
    """A snapshot holds every planted object, by a task and a local that are named."""
    truth = running.tasks()
    pid, tasks = Counter(told.pid for told in truth).most_common(1)[0]
    names = {told.name.split()[0] for told in truth if told.pid == pid}
    file = running.home / f"{pid}.liveheap"
    ask(running, "snapshot", pid, "-o", file)
    found = ask(running, "paths", "parcels.Parcel", file, "--json")
    count, paths = found["count"], [path["steps"] for path in found["paths"]]
    assert count == tasks * PARCELS, f"{count} in the file, not {tasks * PARCELS}"
    assert all('local "parcels" -> list' in steps for steps in paths), f"{paths}"
    # Of asyncio's the one that runs right now stands on its thread's stack.
    labels = [steps[0].split()[1] for steps in paths]
    assert names & set(labels), f"{paths}"
    return f"{count}"


def labels_are_right(running: Running) -> str:
    """Every task is known by kind, name and id, each on a holder of its own."""
    truth, seen = running.tasks(), 0
    for pid in {told.pid for told in truth}:
        facts = running.status(pid)
        said = facts.get("tasks", [])
        expected = Counter(
            (told.kind, told.name, told.id) for told in truth if told.pid == pid
        )
        got = Counter((task["kind"], task["name"], task["id"]) for task in said)
        assert got == expected, f"{dict(got)}, not {dict(expected)}"
        assert not facts.get("labels_failed"), facts["labels_failed"]
        holders = {(task["holder"], task["address"], task["thread"]) for task in said}
        assert len(holders) == len(said), "two tasks on one holder"
        seen += len(said)
    return f"{seen} at once"


def is_renewed(running: Running) -> str:
    """After each kind of renewal the new processes have agents, the old have none."""
    if not running.host.renewals:
        raise NotApplicable("it never renews a process")
    for number, renewal in enumerate(running.host.renewals, start=2):
        before = renew(running, renewal, gate=f"gate-{number - 1}")
        gate = f"gate-{number}"
        running.feed(running.host.tasks, gate)
        running.wait_for_tasks(running.host.tasks)
        has_agents(running)
        labels_are_right(running)
        kept = before & running.incarnations()
        assert not kept, f"{renewal}: still there after it: {sorted(kept)}"
        listed = set(running.workers())
        dead = listed - running.processes()
        assert not dead, f"{renewal}: listed but dead: {sorted(dead)}"
    return ", ".join(running.host.renewals)


def renew(running: Running, renewal: str, *, gate: str) -> frozenset[Any]:
    """Renew, and return when the old processes are gone: those that must go."""
    before = running.incarnations()
    assert before, "no process runs a task"
    if renewal == CRASH:
        before = frozenset(sorted(before)[:1])
        os.kill(next(iter(before))[0], signal.SIGKILL)
    running.open(gate)
    if renewal == HUP:
        running.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: running.has_ended() or not before & running.agents(),
        what=f"{renewal}: {sorted(before)} are gone",
        deadline_s=WAIT_S,
    )
    assert not running.has_ended(), f"{renewal} ended it: {running.process.returncode}"
    return before


def ends_cleanly(running: Running) -> str:
    """SIGTERM ends it as without us, and nothing on its stderr speaks of an agent."""
    open_all(running)
    code = running.end()
    assert code in running.host.exit_codes, f"exit code {code}"
    eventually(lambda: not running.processes(), what="its processes end")
    lines = [
        line
        for line in running.stderr.splitlines()
        if any(word in line for word in SHAME)
    ]
    assert not lines, f"on stderr: {lines[0][:200]}"
    return f"{code}"


def leaves_no_socket(running: Running) -> str:
    """After the end a listing is empty, and it has tidied up."""
    left = len(running.sockets())
    assert not list(registry.entries(running.environ)), "somebody is listed"
    assert not running.sockets(), f"{len(running.sockets())} sockets stay"
    return f"{left} pruned" if left else ""


def survives_a_burst(running: Running) -> str:
    """Jobs that are over at once, each in a process of its own, leave no socket."""
    must_have_a_burst(running)
    open_all(running)
    eventually(lambda: len(running.processes()) == 1, what="the last child has ended")
    running.workers()
    before = set(running.sockets())
    took = burst_s(running)
    left = set(running.sockets()) - before
    assert not left, f"{len(left)} sockets of {running.host.burst} jobs"
    return f"{running.host.burst} jobs in {took:.1f} s"


def bare_burst(running: Running) -> str:
    """The same jobs with the same host, without an agent: what a fork's agent costs."""
    must_have_a_burst(running)
    home = running.home / "bare"
    home.mkdir()
    with broker.running_redis(home) as redis:
        bare = start(running.host, "bare", home, redis)
        try:
            bare.feed(1, FIRST_GATE)
            bare.wait_for_tasks(1)
            bare.open(FIRST_GATE)
            return f"{running.host.burst} jobs in {burst_s(bare):.1f} s"
        finally:
            bare.kill()


def must_have_a_burst(running: Running) -> None:
    if not running.host.burst:
        raise NotApplicable("it has no such jobs")


def burst_s(running: Running) -> float:
    """Send short jobs; return how long the host took over them."""
    running.feed(running.host.burst, NO_GATE)
    began = time.monotonic()
    eventually(
        lambda: (
            not broker.length(running.redis, QUEUE) and len(running.processes()) == 1
        ),
        what="all jobs are done",
        deadline_s=60,
    )
    return time.monotonic() - began


def open_all(running: Running) -> None:
    """Let all tasks end, those in a queue as well."""
    running.open(*(f"gate-{number}" for number in range(1, 10)))


def ask(running: Running, *words: object) -> Any:
    """Run `liveheap ...`; return what its --json says."""
    done = subprocess.run(
        [sys.executable, "-m", "liveheap_client", *map(str, words)],
        env=running.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=running.home,
    )
    assert done.returncode == 0, f"liveheap {words[0]}: {done.stderr.strip()[:300]}"
    return json.loads(done.stdout) if "--json" in words else None


CHECKS = {
    "agent in each": has_agents,
    "ping under load": answers_under_load,
    "marker found": finds_the_parcels,
    "labels": labels_are_right,
    "renewed": is_renewed,
    "burst": survives_a_burst,
    "burst without agent": bare_burst,
    "clean exit": ends_cleanly,
    "no socket left": leaves_no_socket,
}
