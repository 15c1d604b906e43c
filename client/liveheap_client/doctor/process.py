"""The process itself: whether it is one, whose it is, and whether it can run at all."""

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import registry
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.inside import status_of

CHECK = "process"
STOPPED, TRACED, ZOMBIE, DEAD, WAITING = "T", "t", "Z", "X", "D"
_KTHREADD = 2


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What the kernel says of a number."""

    pid: int
    our_uid: int
    exists: bool = True
    leader: int = 0
    """Its process, if the number is a thread's."""
    state: str = "S"
    name: str = "?"
    """The kernel's name of it: arguments may be secrets."""
    uid: int | None = None
    user: str | None = None
    parent: int = 0
    parent_name: str = "?"
    tracer: int = 0
    tracer_name: str = "?"
    is_kernels: bool = False
    start_time: int | None = None

    @property
    def is_worker(self) -> bool:
        """Whether there is a process that anything else can be said of."""
        ended = self.state in (ZOMBIE, DEAD)
        return self.exists and not self.leader and not ended and not self.is_kernels

    @property
    def is_halted(self) -> bool:
        """Whether it runs nothing until somebody lets it go on."""
        return self.state in (STOPPED, TRACED)

    @property
    def is_ours(self) -> bool:
        """Whether we may be told of it what its own user may."""
        return self.our_uid in (0, self.uid)


def look(pid: int) -> ProcessFacts:
    """Ask the kernel."""
    status, our_uid = status_of(pid), os.geteuid()
    began = registry.start_time(pid)
    if status is None or began is None:
        return ProcessFacts(pid, our_uid, exists=False)
    leader = int(status.get("Tgid", pid))
    parent, tracer = int(status.get("PPid", 0)), int(status.get("TracerPid", 0))
    uid = int(status["Uid"].split()[1])
    return ProcessFacts(
        pid,
        our_uid,
        leader=leader if leader != pid else 0,
        state=status.get("State", "?")[0],
        name=status.get("Name", "?"),
        uid=uid,
        user=user_of(uid),
        parent=parent,
        parent_name=name_of(parent),
        tracer=tracer,
        tracer_name=name_of(tracer),
        is_kernels=_KTHREADD in (pid, parent) and "VmSize" not in status,
        start_time=began,
    )


def judge(facts: ProcessFacts) -> Iterator[Finding]:
    """Say what it is, and what keeps it from running or us from it."""
    if not facts.is_worker:
        yield _no_worker(facts)
        return
    yield _owner(facts)
    if facts.state == STOPPED:
        yield problem(
            CHECK,
            "it is stopped (SIGSTOP), and answers nobody until it is let go on",
            f"kill -CONT {facts.pid}",
        )
    elif facts.state == TRACED:
        yield problem(
            CHECK,
            f"it is held by a debugger, {facts.tracer} ({facts.tracer_name})",
            "let it go on in there, or leave it",
        )
    elif facts.state == WAITING:
        yield note(
            CHECK,
            "its main thread waits in the kernel and cannot be interrupted: a disk or "
            "a network file system may be slow",
            f"cat /proc/{facts.pid}/wchan",
        )


def _no_worker(facts: ProcessFacts) -> Finding:
    pid = facts.pid
    if not facts.exists:
        return problem(CHECK, f"there is no process {pid} here", "liveheap ps")
    if facts.leader:
        return problem(
            CHECK,
            f"{pid} is a thread of process {facts.leader}",
            f"liveheap doctor {facts.leader}",
        )
    if facts.is_kernels:
        return problem(
            CHECK, f"process {pid} is one of the kernel's own", "liveheap ps"
        )
    return problem(
        CHECK,
        f"process {pid} has ended (a zombie); its parent, {facts.parent} "
        f"({facts.parent_name}), has not asked how",
        "liveheap ps",
    )


def _owner(facts: ProcessFacts) -> Finding:
    whose = f"uid {facts.uid}" + (f" ({facts.user})" if facts.user else "")
    said = f"process {facts.pid} ({facts.name}) runs as {whose}"
    if facts.is_ours:
        return ok(CHECK, f"{said}; you are uid {facts.our_uid}")
    as_user = f"-u {facts.user} " if facts.user else ""
    return problem(
        CHECK,
        f"{said}, and you are uid {facts.our_uid}: its agent talks to its own user "
        "and to root",
        f"sudo {as_user}liveheap doctor {facts.pid}",
    )


def name_of(pid: int) -> str:
    """Return the kernel's name of a process."""
    return (status_of(pid) or {}).get("Name", "?") if pid else "?"


def user_of(uid: int) -> str | None:
    """Return the name of a user, where it has one here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
