"""What the doctor makes of facts: each is made up here, and nothing is looked at."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from liveheap.limits import Bound
from liveheap_client.doctor import (
    agent,
    bounds,
    checkup,
    directory,
    far,
    journey,
    keys,
    machine,
    memory,
    namespaces,
    process,
    spool,
    switches,
    tracing,
    versions,
)
from liveheap_client.doctor.agent import AgentFacts
from liveheap_client.doctor.bounds import BoundFacts
from liveheap_client.doctor.directory import DirectoryFacts, Place
from liveheap_client.doctor.far import FarFacts
from liveheap_client.doctor.finding import Finding, State
from liveheap_client.doctor.keys import KeyFacts
from liveheap_client.doctor.machine import WorkersFacts
from liveheap_client.doctor.memory import MemoryFacts
from liveheap_client.doctor.namespaces import NamespaceFacts
from liveheap_client.doctor.process import ProcessFacts
from liveheap_client.doctor.spool import SpoolDirectory, SpoolFacts
from liveheap_client.doctor.subject import Subject
from liveheap_client.doctor.switches import SwitchFacts
from liveheap_client.doctor.tracing import TracingFacts
from liveheap_client.doctor.versions import VersionFacts

MB, GB = 1 << 20, 1 << 30
OK, NOTE, PROBLEM = State.OK, State.NOTE, State.PROBLEM

WORKER = ProcessFacts(4711, 1000, uid=1000, user="shop", name="celery", start_time=1)
ANSWERING = AgentFacts(
    "4711",
    outcome=agent.ANSWERS,
    socket="/tmp/liveheap-1000/4711-1.sock",
    mode=0o600,
    seconds=0.01,
    status={"version": "1.2", "scope_ceiling": "graph"},
)
FIT = Place("/tmp/liveheap-1000", exists=True, is_directory=True, uid=1000, mode=0o700)
ROOMY = MemoryFacts(
    "4711",
    rss=GB,
    anonymous=GB,
    predicted_ms=26.0,
    bounds=(Bound("memory limit of cgroup /shop", 4 * GB),),
)
DISK = SpoolDirectory("/var/tmp", free=50 * GB)
TRACEABLE = TracingFacts("4711", yama=0, ways=("ptrace",))
KNOWN = VersionFacts(target="4711", python=(3, 12), has_agent=True, agents="1.2")
REACHED = FarFacts("web-1", code=0, seconds=0.4, report={"doctor": 1, "findings": []})
LOGGED_IN = FarFacts("web-1", code=127, probe={"PATH": ("/usr/bin:/bin",)})
REFUSED = FarFacts(
    "web-1",
    code=255,
    error="ssh to web-1 failed",
    talk="web-1: Permission denied (publickey).",
    config={"hostname": "10.0.0.1", "port": "22", "user": "shop"},
)


def place(**how: Any) -> DirectoryFacts:
    return DirectoryFacts(1000, (replace(FIT, **how),))


Case = tuple[Callable[[Any], Iterable[Finding]], Any, State, str]
CASES: list[Case] = [
    # The process.
    (process.judge, WORKER, OK, "(celery) runs as uid 1000 (shop); you are uid 1000"),
    (process.judge, ProcessFacts(7, 0, exists=False), PROBLEM, "no process 7 here"),
    (process.judge, replace(WORKER, leader=4700), PROBLEM, "thread of process 4700"),
    (process.judge, replace(WORKER, state="Z"), PROBLEM, "has ended (a zombie)"),
    (process.judge, replace(WORKER, is_kernels=True), PROBLEM, "the kernel's own"),
    (process.judge, replace(WORKER, state="T"), PROBLEM, "is stopped (SIGSTOP)"),
    (process.judge, replace(WORKER, state="t", tracer=9), PROBLEM, "by a debugger, 9"),
    (process.judge, replace(WORKER, state="D"), NOTE, "cannot be interrupted"),
    (process.judge, replace(WORKER, uid=33), PROBLEM, "talks to its own user and to"),
    (process.judge, replace(WORKER, our_uid=0), OK, "you are uid 0"),
    # The agent.
    (agent.judge, ANSWERING, OK, "answers after 10 ms: liveheap 1.2, up to scope"),
    (agent.judge, replace(ANSWERING, seconds=1.0), NOTE, "compete for the GIL"),
    (agent.judge, replace(ANSWERING, mode=0o666), PROBLEM, "has mode 0666"),
    (agent.judge, AgentFacts("4711"), NOTE, "it has no agent"),
    (agent.judge, AgentFacts("4711", engine_loaded=True), PROBLEM, "is loaded in it"),
    (agent.judge, replace(ANSWERING, outcome="silent"), PROBLEM, "holds the GIL"),
    (agent.judge, replace(ANSWERING, outcome="dead", said="no"), PROBLEM, "no"),
    (agent.judge, replace(ANSWERING, outcome="busy"), PROBLEM, "nobody in (busy)"),
    (agent.judge, replace(ANSWERING, outcome="not-genuine"), PROBLEM, "not-genuine"),
    (
        agent.judge,
        replace(ANSWERING, status={"lost_audit_lines": 3}),
        PROBLEM,
        "3 lines of the audit log",
    ),
    (agent.judge, replace(ANSWERING, status={"failures": 2}), NOTE, "2 faults"),
    (agent.judge, replace(ANSWERING, status={"labels_failed": "rq"}), NOTE, "of rq"),
    # The run directory.
    (directory.judge, place(), OK, "/tmp/liveheap-1000, which only its user enters"),
    (directory.judge, place(mode=0o755), PROBLEM, "has mode 0755"),
    (directory.judge, place(uid=666), PROBLEM, "taken by somebody"),
    (directory.judge, place(uid=666, chosen=True), PROBLEM, "was chosen and belongs"),
    (
        directory.judge,
        place(is_link=True, is_directory=False),
        PROBLEM,
        "is a link, and a link may lead anywhere",
    ),
    (directory.judge, place(is_directory=False), PROBLEM, "is no directory"),
    (directory.judge, place(read_only=True), NOTE, "read-only file system"),
    (directory.judge, place(full=True), PROBLEM, "is full: no socket"),
    (
        directory.judge,
        place(exists=False, is_directory=False),
        NOTE,
        "no run directory",
    ),
    (
        directory.judge,
        place(exists=False, is_directory=False, chosen=True),
        NOTE,
        "does not exist",
    ),
    (
        directory.judge,
        replace(place(), ours="/a", theirs="/b", knows_theirs=True),
        PROBLEM,
        "LIVEHEAP_DIR=/a alone; the worker was started to use /b",
    ),
    (
        directory.judge,
        replace(place(), ours="/a", knows_theirs=True),
        PROBLEM,
        "to use the usual places",
    ),
    (
        directory.judge,
        replace(place(), theirs="/b", knows_theirs=True),
        NOTE,
        "started with LIVEHEAP_DIR=/b",
    ),
    # Switches and settings.
    (switches.judge, SwitchFacts("4711", {}, True), OK, "scope graph is the ceiling"),
    (
        switches.judge,
        SwitchFacts("4711", {}, True, ceiling="exec"),
        OK,
        "scope exec is the ceiling",
    ),
    (
        switches.judge,
        SwitchFacts("4711", {"LIVEHEAP": "0"}, False),
        PROBLEM,
        "=0 in its",
    ),
    (
        switches.judge,
        SwitchFacts("", {"LIVEHEAP": "0"}, False, is_machine=True),
        PROBLEM,
        "in your own environment",
    ),
    (
        switches.judge,
        SwitchFacts("4711", {}, False, off_files=("/tmp/liveheap-1000/disabled",)),
        PROBLEM,
        "switches every agent of this user off",
    ),
    (
        switches.judge,
        SwitchFacts("4711", {"LIVEHEAP_MAX_PAUSE": "long"}, True),
        PROBLEM,
        "LIVEHEAP_MAX_PAUSE='long'",
    ),
    (switches.judge, SwitchFacts("4711", None, True), NOTE, "may not be read"),
    (
        switches.judge,
        SwitchFacts("4711", {"LIVEHEAP_MASTER": "0"}, False),
        NOTE,
        "its forked children get one",
    ),
    (
        switches.judge,
        SwitchFacts("4711", {"LIVEHEAP_CHILDREN": "0"}, False),
        NOTE,
        "forked children get no agent",
    ),
    (
        switches.judge,
        SwitchFacts("4711", {"LIVEHEAP_ONLY": "celery"}, False),
        NOTE,
        "LIVEHEAP_ONLY=celery",
    ),
    # The token.
    (keys.judge, KeyFacts(True, proved=True, has_agent=True), OK, "hold the same"),
    (keys.judge, KeyFacts(True), OK, "one that you can read"),
    (keys.judge, KeyFacts(False, fault="mode 0644"), PROBLEM, "mode 0644"),
    (keys.judge, KeyFacts(False, fault="none", is_missing=True), NOTE, "makes one"),
    (
        keys.judge,
        KeyFacts(True, refused=True, has_agent=True),
        PROBLEM,
        "you hold a token, and the worker another",
    ),
    (
        keys.judge,
        KeyFacts(
            True, refused=True, has_agent=True, theirs={"LIVEHEAP_TOKEN_FILE": "/k"}
        ),
        NOTE,
        "started with LIVEHEAP_TOKEN_FILE=/k",
    ),
    # Namespaces.
    (namespaces.judge, NamespaceFacts(4711, 4711), OK, "the same files and processes"),
    (
        namespaces.judge,
        NamespaceFacts(4711, 1, foreign=("mnt", "pid")),
        OK,
        "there it is process 1; it is reached through /proc/4711/root",
    ),
    (
        namespaces.judge,
        NamespaceFacts(4711, 1, foreign=("mnt",), can_enter=False),
        PROBLEM,
        "you may not enter",
    ),
    (namespaces.judge, NamespaceFacts(4711, 4711, other_root=True), OK, "(chroot)"),
    (namespaces.judge, NamespaceFacts(4711, 4711, foreign=("net",)), OK, "network of"),
    (
        namespaces.judge,
        NamespaceFacts(4711, 4711, unknown=True, can_enter=False),
        NOTE,
        "may not be told",
    ),
    # Injection.
    (tracing.judge, TRACEABLE, OK, "can be brought in, by ptrace"),
    (
        tracing.judge,
        replace(TRACEABLE, tracer="9 (gdb)"),
        PROBLEM,
        "traced already, by",
    ),
    (tracing.judge, replace(TRACEABLE, refusal="no"), PROBLEM, "no"),
    (tracing.judge, replace(TRACEABLE, ways=()), PROBLEM, "there is no way"),
    (
        tracing.judge,
        replace(TRACEABLE, yama=1, memory_error=1),
        PROBLEM,
        "Yama (ptrace_scope 1) lets nobody trace it",
    ),
    (tracing.judge, replace(TRACEABLE, memory_error=13), PROBLEM, "may not be opened"),
    (
        tracing.judge,
        replace(TRACEABLE, memory_error=13, no_new_privs=True),
        PROBLEM,
        "sudo does not help here",
    ),
    (
        tracing.judge,
        replace(TRACEABLE, seccomp=True, ptrace_error=1),
        PROBLEM,
        "a seccomp filter of this container or unit keeps ptrace",
    ),
    (
        tracing.judge,
        replace(TRACEABLE, unfit="it runs Python 3.14", fitting="pip download ..."),
        PROBLEM,
        "does not fit there",
    ),
    (tracing.judge, TracingFacts(), OK, "lets you trace processes of your own"),
    (tracing.judge, TracingFacts(yama=1), NOTE, "takes root"),
    (tracing.judge, TracingFacts(ptrace_error=1), NOTE, "seccomp filter keeps ptrace"),
    # Versions.
    (versions.judge, VersionFacts(), OK, "liveheap 0"),
    (versions.judge, KNOWN, OK, "it runs Python 3.12"),
    (
        versions.judge,
        replace(KNOWN, ours="1.3"),
        NOTE,
        "is of liveheap 1.2, this is 1.3",
    ),
    (versions.judge, replace(KNOWN, protocol=99), PROBLEM, "speaks protocol 99"),
    (versions.judge, replace(KNOWN, python=(3, 9)), PROBLEM, "does not know"),
    (versions.judge, replace(KNOWN, free_threaded=True), PROBLEM, "free-threaded"),
    (versions.judge, replace(KNOWN, debug=True), NOTE, "debug build"),
    (versions.judge, replace(KNOWN, musl=True), NOTE, "runs on musl"),
    (
        versions.judge,
        replace(KNOWN, engine="no"),
        PROBLEM,
        "engine does not work in it",
    ),
    (versions.judge, replace(KNOWN, kind="master"), NOTE, "warns that it has a second"),
    (
        versions.judge,
        replace(KNOWN, kind="master", python=(3, 15)),
        NOTE,
        "raises where warnings are errors",
    ),
    (versions.judge, replace(KNOWN, missing=("msgpack",)), PROBLEM, "lacks msgpack"),
    (versions.judge, replace(KNOWN, machine="aarch64"), NOTE, "on aarch64 no agent"),
    # Memory and the stop.
    (memory.judge, ROOMY, OK, "needs 51.2 MiB beside its 1.0 GiB"),
    (memory.judge, ROOMY, OK, "stops it for about 26.0 ms"),
    (
        memory.judge,
        replace(ROOMY, bounds=(Bound("RLIMIT_AS", 8 * MB),)),
        PROBLEM,
        "RLIMIT_AS leaves 8.0 MiB: it is refused",
    ),
    (
        memory.judge,
        replace(ROOMY, bounds=(Bound("available memory", 500 * MB),)),
        NOTE,
        "a frozen clone may need",
    ),
    (
        memory.judge,
        replace(ROOMY, processes=(Bound("pids.max of cgroup /", 0),)),
        PROBLEM,
        "permits no further process",
    ),
    (memory.judge, replace(ROOMY, predicted_ms=400.0), NOTE, "longer than the 100 ms"),
    (
        memory.judge,
        replace(ROOMY, predicted_ms=400.0, thp="never"),
        NOTE,
        "transparent huge pages are off here",
    ),
    (
        memory.judge,
        replace(ROOMY, predicted_ms=400.0, owners_limit_ms=50.0),
        PROBLEM,
        "its owner allows 50 ms at most",
    ),
    (
        memory.judge,
        replace(ROOMY, huge=900 * MB),
        OK,
        "in huge pages, which cost little",
    ),
    (memory.judge, replace(ROOMY, is_readable=False), NOTE, "may not be looked at"),
    (memory.judge, replace(ROOMY, target=""), OK, "cgroup /shop leaves 4.0 GiB"),
    (
        memory.judge,
        MemoryFacts("", bounds=(Bound("available memory", MB),)),
        PROBLEM,
        "a snapshot needs 16.0 MiB at least",
    ),
    # The spool.
    (spool.judge, SpoolFacts("4711", GB, (DISK,)), OK, "/var/tmp has 50.0 GiB free"),
    (
        spool.judge,
        SpoolFacts("4711", GB, (replace(DISK, free=MB),)),
        PROBLEM,
        "/var/tmp has 1.0 MiB free",
    ),
    (
        spool.judge,
        SpoolFacts("4711", GB, (replace(DISK, in_memory=True),)),
        NOTE,
        "lies in memory (tmpfs)",
    ),
    (
        spool.judge,
        SpoolFacts("4711", GB, (replace(DISK, fault="on a read-only file system"),)),
        PROBLEM,
        "no place for a spool (/var/tmp: on a read-only file system)",
    ),
    (
        spool.judge,
        SpoolFacts(
            "4711", GB, (SpoolDirectory("/gone", fault="missing"),), chosen=True
        ),
        PROBLEM,
        "LIVEHEAP_SPOOL=/gone is missing",
    ),
    # Limits.
    (bounds.judge, BoundFacts("4711", {"max_pause": 5000.0}), OK, "max_pause 5000"),
    (bounds.judge, BoundFacts("4711", heavy="snapshot"), NOTE, "snapshot is running"),
    (
        bounds.judge,
        BoundFacts("4711", {"max_sessions": 4}, sessions=3),
        NOTE,
        "3 of 4 sessions are open",
    ),
    # The machine.
    (machine.judge, WorkersFacts(), NOTE, "no worker with an agent is running here"),
    (machine.judge, WorkersFacts(fault="no"), PROBLEM, "no"),
    (machine.judge, WorkersFacts(({"pid": 1, "state": "answers"},)), OK, "1 of 1"),
    (
        machine.judge,
        WorkersFacts(tuple({"pid": pid, "state": "stopped"} for pid in range(9))),
        PROBLEM,
        "are stopped: 0, 1, 2, 3, 4 and 4 more",
    ),
    # Over ssh.
    (far.judge, REACHED, OK, "web-1 was reached in 0.4 s"),
    (far.judge, replace(REACHED, noise_bytes=63), NOTE, "prints 63 bytes before"),
    (
        far.judge,
        replace(REACHED, report={"doctor": 1, "version": "0.0.1"}),
        NOTE,
        "web-1 has liveheap 0.0.1",
    ),
    (
        far.judge,
        replace(REACHED, report={"findings": [{"state": "problem", "said": "there"}]}),
        PROBLEM,
        "there",
    ),
    (far.judge, LOGGED_IN, PROBLEM, "nor is there a python3"),
    (
        far.judge,
        replace(LOGGED_IN, probe={"FOUND": ("/opt/a/bin/liveheap",)}),
        PROBLEM,
        "there is one at /opt/a/bin/liveheap",
    ),
    (
        far.judge,
        replace(LOGGED_IN, probe={"HERE": ("python3 /usr/bin/python3",)}),
        NOTE,
        "workers are asked through its python3",
    ),
    (far.judge, replace(LOGGED_IN, code=126), PROBLEM, "cannot be executed"),
    (
        far.judge,
        replace(LOGGED_IN, code=2, talk="No such command 'doctor'"),
        PROBLEM,
        "has no doctor: it is older",
    ),
    (far.judge, replace(LOGGED_IN, code=1, probe={}), PROBLEM, "a ForceCommand or a"),
    (
        far.judge,
        replace(LOGGED_IN, code=9, talk="Killed"),
        PROBLEM,
        "exit code 9: Killed",
    ),
    (far.judge, REFUSED, PROBLEM, "ssh has no key to offer"),
    (
        far.judge,
        replace(REFUSED, keys=("~/.ssh/id",)),
        NOTE,
        "that account accepts none",
    ),
    (
        far.judge,
        replace(REFUSED, resolves=False),
        PROBLEM,
        "10.0.0.1 is not known here",
    ),
    (
        far.judge,
        replace(REFUSED, port_open=False),
        PROBLEM,
        "nobody accepts connections",
    ),
    (far.judge, REFUSED, NOTE, "ssh goes to shop@10.0.0.1 port 22"),
    (far.judge, replace(REFUSED, config={}), NOTE, "does not say how it reads"),
    (far.judge, replace(REFUSED, code=None, timed_out=True), PROBLEM, "gave no answer"),
    (far.judge, FarFacts("via docker", is_ssh=False, code=1), PROBLEM, "behind --via"),
]


def named(case: Case) -> str:
    judge, _, state, words = case
    return f"{judge.__module__.rpartition('.')[2]}-{state.value}-{words}"


@pytest.mark.parametrize(
    ("judge", "facts", "state", "words"), [pytest.param(*c, id=named(c)) for c in CASES]
)
def test_facts_are_judged(judge: Any, facts: Any, state: State, words: str) -> None:
    found = list(judge(facts))

    matching = [each for each in found if words in each.said]
    assert [each.state for each in matching] == [state], found


@pytest.mark.parametrize(
    ("judge", "facts"), [pytest.param(c[0], c[1], id=named(c)) for c in CASES]
)
def test_what_is_in_the_way_says_what_to_type(judge: Any, facts: Any) -> None:
    for finding in judge(facts):
        assert finding.said
        assert "\n" not in finding.said
        assert finding.hint or finding.state is not PROBLEM or "report" in repr(facts)


def test_a_look_that_hangs_is_given_up_and_the_others_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, over = threading.Event(), threading.Event()

    def look(_subject: object) -> None:
        hangs.set()
        over.wait(60)

    monkeypatch.setattr(checkup, "LOOK_S", 0.05)
    family = checkup.Family("spool", look, spool.judge)
    (found,) = checkup.examine(family, Subject({}))
    over.set()
    assert hangs.is_set()
    assert (found.check, found.state) == ("spool", NOTE)
    assert "could not be looked at within" in found.said


def test_a_look_that_fails_is_told_and_is_no_traceback() -> None:
    def look(_subject: object) -> None:
        raise PermissionError(13, "Permission denied", "/proc/1/x")

    family = checkup.Family("spool", look, spool.judge)
    (found,) = checkup.examine(family, Subject({}))
    assert "could not be looked at: " in found.said


def test_every_word_of_a_finding_survives_the_way_from_another_doctor() -> None:
    finding = Finding("memory", PROBLEM, "too little", "buy more")
    assert Finding.from_json(finding.to_json()) == finding


@pytest.mark.parametrize(
    "fields", [{}, {"state": "worse"}, {"said": 3, "hint": [1], "check": None}]
)
def test_a_strange_doctor_s_findings_are_notes(fields: dict[str, Any]) -> None:
    assert Finding.from_json(fields).state is NOTE


@pytest.mark.parametrize(
    ("data", "noise"),
    [
        (b'{"doctor": 1}', ""),
        (b'{"doctor": 1}\n\n', ""),
        (
            b'Welcome\n{not json}\n{"a": 1}\n{\n "doctor": 1}',
            'Welcome\n{not json}\n{"a": 1}\n',
        ),
    ],
)
def test_an_answer_is_found_behind_what_a_shell_prints(data: bytes, noise: str) -> None:
    assert journey.find_report(data) == ({"doctor": 1}, noise)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"liveheap: command not found",
        b'{"doctor": 1',
        b'x{"doctor": 1}',
        b"[" * 100_000,
        b"{" * 70_000,
        b" " * (far.NOISE_LIMIT + 1) + b'\n{"doctor": 1}',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_answer_is_noise(data: bytes) -> None:
    report, noise = journey.find_report(data)
    assert report is None
    assert len(noise) >= 0
