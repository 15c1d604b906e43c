"""Whether an agent could be brought in, and which of the kernel's rules forbids it.

Nothing is tried on the process: to open its memory needs the same right as ptrace and
stops nobody. Whether a seccomp filter keeps ptrace from us shows in a child of ours,
which asks for process 0: a kernel that lets the call through knows no such process.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.errors import InjectError
from liveheap_client.inject import ladder, luggage, process
from liveheap_client.inside import status_of

CHECK = "injection"
WITHIN_S = 2.0
_CAP_SYS_PTRACE = 19
_TRY = (
    "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
    "libc.ptrace(0x4206, 0, 0, 0); os._exit(ctypes.get_errno())"
)


@dataclass(frozen=True, slots=True)
class TracingFacts:
    """What the rules say of us, and of the process if there is one."""

    target: str = ""
    has_agent: bool = False
    yama: int | None = None
    may_trace_all: bool = False
    """Whether we have the capability SYS_PTRACE."""
    seccomp: bool = False
    ptrace_error: int | None = None
    """What a seccomp filter answers in the kernel's place; None: it lets it through."""
    refusal: str | None = None
    hint: str | None = None
    ways: tuple[str, ...] = ()
    unfit: str | None = None
    """Why no agent of ours fits its interpreter."""
    fitting: str | None = None
    """The command that gets one that does."""
    own: bool = False
    """Whether a liveheap is installed for it."""
    memory_error: int | None = None
    tracer: str | None = None
    no_new_privs: bool = False


def look(subject: Subject) -> TracingFacts:
    """Read the rules; look at the process as an injection would before it begins."""
    ours = status_of("self") or {}
    has_agent = subject.agent is not None and subject.agent.is_there
    seccomp = ours.get("Seccomp", "0") != "0"
    known = TracingFacts(
        target=str(subject.pid or ""),
        has_agent=has_agent,
        yama=_yama(),
        may_trace_all=bool(int(ours.get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1),
        seccomp=seccomp,
        ptrace_error=_ptrace_error() if seccomp and not has_agent else None,
        no_new_privs=ours.get("NoNewPrivs", "0") != "0",
    )
    if subject.process is None or has_agent:
        return known
    return _with_process(known, subject.process.pid, subject)


def _with_process(known: TracingFacts, pid: int, subject: Subject) -> TracingFacts:
    tracing = subject.process
    tracer = (
        f"{tracing.tracer} ({tracing.tracer_name})"
        if tracing is not None and tracing.tracer
        else None
    )
    known = replace(known, tracer=tracer)
    try:
        found = process.look(pid)
    except InjectError as error:
        return replace(known, refusal=str(error), hint=error.hint)
    fits = luggage.fits(found.python)
    return replace(
        known,
        ways=tuple(ladder.ways(found)),
        unfit=None if fits else f"it runs Python {found.python}, you another build",
        fitting=None if fits else luggage.command_for(found.python),
        own=found.has_its_own(),
        memory_error=_memory_error(pid),
    )


def judge(facts: TracingFacts) -> Iterator[Finding]:
    """Say whether it could be done, or who forbids it."""
    if facts.has_agent:
        return
    if not facts.target:
        yield from _machine(facts)
        return
    if facts.tracer is not None:
        yield problem(
            CHECK,
            f"it is being traced already, by {facts.tracer}: a process has one tracer",
            "end the debugger, profiler or strace that is attached to it",
        )
    elif facts.refusal is not None:
        yield problem(CHECK, facts.refusal, facts.hint or "liveheap run -- CMD")
    else:
        yield from _ways(facts)


def _ways(facts: TracingFacts) -> Iterator[Finding]:
    again = f"liveheap inject {facts.target} --agent agent-DIR"
    if facts.unfit is not None and not facts.own:
        yield problem(
            CHECK,
            f"{facts.unfit}: the agent of this installation does not fit there",
            f"{facts.fitting}; then: {again}",
        )
    traced = facts.ways == ("ptrace",)
    if facts.memory_error is not None and "manhole" not in facts.ways:
        yield _forbidden(facts)
    elif facts.ptrace_error is not None and traced:
        yield problem(
            CHECK,
            "a seccomp filter of this container or unit keeps ptrace from you "
            f"({os.strerror(facts.ptrace_error)})",
            "docker run --cap-add SYS_PTRACE, or inject from the host",
        )
    elif not facts.ways:
        yield problem(
            CHECK,
            f"there is no way into a running worker on {os.uname().machine} yet",
            "start the agent in it: liveheap run -- CMD",
        )
    else:
        yield ok(
            CHECK,
            f"an agent can be brought in, by {facts.ways[0]}",
            f"liveheap inject {facts.target}",
        )


def _forbidden(facts: TracingFacts) -> Finding:
    if facts.yama and not facts.may_trace_all:
        return problem(
            CHECK,
            f"Yama (ptrace_scope {facts.yama}) lets nobody trace it without the "
            "capability SYS_PTRACE",
            f"sudo liveheap inject {facts.target}",
        )
    why = os.strerror(facts.memory_error or errno.EPERM)
    more = "; no-new-privs is set, so sudo does not help here" * facts.no_new_privs
    return problem(
        CHECK,
        f"its memory may not be opened ({why}): it has more rights than you, is not "
        f"dumpable, or a security module forbids it{more}",
        f"sudo liveheap inject {facts.target}; dmesg tells of SELinux and AppArmor",
    )


def _machine(facts: TracingFacts) -> Iterator[Finding]:
    """What would hold for any process of this machine."""
    if facts.ptrace_error is not None:
        yield note(
            CHECK,
            "a seccomp filter keeps ptrace from you: agents cannot be brought in from "
            "here",
            "docker run --cap-add SYS_PTRACE, or inject from the host",
        )
    elif facts.yama and not facts.may_trace_all:
        yield note(
            CHECK,
            f"Yama (ptrace_scope {facts.yama}): bringing an agent in takes root",
            "sudo liveheap inject PID",
        )
    else:
        yield ok(CHECK, "the kernel lets you trace processes of your own")


def _yama() -> int | None:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _memory_error(pid: int) -> int | None:
    """Return why its memory cannot be opened; the right to is the right to trace."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        return exc.errno
    return None


def _ptrace_error() -> int | None:
    """Return what stands between ptrace and us; the filter may even kill who asks."""
    try:
        code = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRY],
            timeout=WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
    if code in (errno.ESRCH, errno.EIO, 0):
        return None
    return code if code > 0 else errno.EPERM
