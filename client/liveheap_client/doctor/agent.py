"""The agent: whether there is one, whether it answers, and what it says of itself.

It is asked as any client asks, in scope read: connect, handshake, `status`. Each step
that fails has a reason of its own, and the steps before it have not.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liveheap.errors import AuthenticationError, LiveheapError
from liveheap.protocol.auth import Scope
from liveheap_client import inside, outside, workers
from liveheap_client import reach as reaching
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.process import ProcessFacts
from liveheap_client.errors import ConnectError, TimedOut
from liveheap_client.patience import Patience
from liveheap_client.reach import LocalLink, Reach
from liveheap_client.session import Session
from liveheap_client.workers import Worker

CHECK = "agent"
WITHIN_S = 2.0
SLOW_S = 0.5
NONE, ANSWERS, SILENT, DEAD, HALTED = "none", "answers", "silent", "dead", "halted"


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What came of asking the agent.

    `outcome`: none, answers, silent (no answer in time), dead (nobody listens), halted
    (not asked: its process stands still), or the code of the handshake's refusal.
    """

    target: str
    outcome: str = NONE
    socket: str | None = None
    mode: int | None = None
    seconds: float = 0.0
    said: str = ""
    hint: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)
    """The facts beside the socket."""
    status: Mapping[str, Any] = field(default_factory=dict)
    from_outside: str = ""
    engine_loaded: bool = False
    """Whether liveheap's engine is mapped, agent or not."""
    pid: int | None = None

    @property
    def is_there(self) -> bool:
        return self.outcome != NONE

    def fact(self, name: str) -> Any:
        """Return what it says of itself, or what stands beside its socket."""
        return self.status.get(name, self.published.get(name))


def look(process: ProcessFacts, environ: Mapping[str, str]) -> AgentFacts:
    """Find the agent of a process and ask it."""
    target, pid = str(process.pid), process.pid
    worker = _worker(pid, environ)
    if worker is None:
        return AgentFacts(target, engine_loaded=_has_engine(pid), pid=pid)
    asked: dict[str, Any] = {"outcome": HALTED}
    if not process.is_halted:
        asked = _ask(lambda how: reaching.worker(worker, how), environ)
    return AgentFacts(
        target,
        socket=str(worker.entry.socket),
        mode=_mode(worker.entry.socket),
        published=worker.entry.facts,
        from_outside="" if asked["outcome"] != SILENT else outside.told(pid, None),
        pid=pid,
        **asked,
    )


def look_at_path(path: str, environ: Mapping[str, str]) -> AgentFacts:
    """Ask whoever listens on a socket."""
    asked = _ask(lambda how: reaching.path(path, how), environ)
    return AgentFacts(f"unix:{path}", socket=path, mode=_mode(Path(path)), **asked)


def look_at_port(host: str, port: int, environ: Mapping[str, str]) -> AgentFacts:
    """Ask whoever listens on a loopback port."""
    asked = _ask(lambda how: reaching.port(host, port, how), environ)
    return AgentFacts(f"{host}:{port}", **asked)


def _worker(pid: int, environ: Mapping[str, str]) -> Worker | None:
    try:
        listed = workers.local(environ)
    except ConnectError:
        listed = []
    for worker in listed:
        if worker.pid == pid:
            return worker
    entry = inside.entry_of(pid)
    return None if entry is None else Worker(entry, None, None)


def _ask(
    connect: Callable[[Reach], LocalLink], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return what came of it, by the names of the facts."""
    began = time.monotonic()
    patience = Patience(timeout_s=WITHIN_S, quiet_s=WITHIN_S)
    how = Reach(environ, Scope.READ, connect_timeout_s=WITHIN_S, patience=patience)
    outcome, said, hint = ANSWERS, "", None
    status: dict[str, Any] = {}
    try:
        link = connect(how)
        with Session(
            link.transport, link.agreed, trailing=link.trailing, patience=patience
        ) as session:
            status = getattr(session.request("status"), "as_dict", dict)()
    except AuthenticationError as error:
        outcome, said, hint = error.code, str(error), error.hint
    except TimedOut as error:
        outcome, said, hint = SILENT, str(error), error.hint
    except (LiveheapError, OSError) as error:
        outcome, said, hint = DEAD, str(error), getattr(error, "hint", None)
    return {
        "outcome": outcome,
        "said": said,
        "hint": hint,
        "status": status,
        "seconds": time.monotonic() - began,
    }


def judge(facts: AgentFacts) -> Iterator[Finding]:
    """Say whether it answers, and if not, why."""
    if facts.outcome == NONE:
        yield _nobody(facts)
        return
    yield from _socket(facts)
    if facts.outcome == ANSWERS:
        yield _answers(facts)
        yield from _complaints(facts)
    elif facts.outcome != HALTED:
        yield _refused(facts)


def _nobody(facts: AgentFacts) -> Finding:
    if facts.engine_loaded:
        return problem(
            CHECK,
            "liveheap is loaded in it, but no agent listens: it was stopped, switched "
            "off, or looks for its directory elsewhere than you",
            f"liveheap inject {facts.target}",
        )
    return note(
        CHECK, "it has no agent", "start the worker with one: liveheap run -- CMD"
    )


def _socket(facts: AgentFacts) -> Iterator[Finding]:
    if facts.mode is not None and facts.mode & 0o077:
        yield problem(
            "socket",
            f"{facts.socket} has mode {facts.mode:04o}: others may connect to it",
            f"chmod 600 {facts.socket}",
        )
    elif facts.socket is not None:
        yield ok("socket", facts.socket)


def _answers(facts: AgentFacts) -> Finding:
    said = (
        f"it answers after {facts.seconds * 1000:.0f} ms: liveheap "
        f"{facts.fact('version') or '?'}, up to scope "
        f"{facts.fact('scope_ceiling') or '?'}"
    )
    if facts.seconds < SLOW_S:
        return ok(CHECK, said)
    return note(
        CHECK,
        f"{said}; that is slow: threads of the worker compete for the GIL",
        f"liveheap status {facts.target}",
    )


def _complaints(facts: AgentFacts) -> Iterator[Finding]:
    """What an agent that answers says is wrong with itself."""
    lost, failures = facts.fact("lost_audit_lines"), facts.fact("failures")
    if lost:
        yield problem(
            "audit",
            f"{lost} lines of the audit log could not be written: a full disk, or a "
            "run directory that is gone",
            f"df {os.path.dirname(facts.socket or '/tmp')}",
        )
    if failures:
        yield note(
            CHECK,
            f"it counts {failures} faults of its own since it started",
            f"liveheap status {facts.target} --json",
        )
    failed = facts.fact("labels_failed")
    if failed:
        yield note(
            "labels",
            f"tasks of {failed} have no names: its version is not known here",
            "liveheap.task() labels what no hook does",
        )


def _refused(facts: AgentFacts) -> Finding:
    target = facts.target
    if facts.outcome == SILENT:
        return problem(
            CHECK,
            f"it has not answered within {WITHIN_S:g} s: a long call holds the GIL, or "
            f"too many connections wait ({facts.from_outside or facts.said})",
            f"py-spy dump --pid {target} shows where it is; then try again",
        )
    if facts.outcome == DEAD:
        return problem(
            CHECK,
            facts.said,
            f"restart the worker, or bring a new agent in: liveheap inject {target}",
        )
    hints = {
        "not-genuine": "the same LIVEHEAP_TOKEN_FILE, LIVEHEAP_DIR and HOME as the "
        "worker; see the findings on the token",
        "busy": "end a session, or try again in a moment: lsof "
        f"{facts.socket or target}",
        "version": "pip install -U liveheap, on the older side",
        "wrong-worker": "liveheap ps",
    }
    return problem(
        CHECK,
        f"it lets nobody in ({facts.outcome}): {facts.said}",
        facts.hint or hints.get(facts.outcome, f"liveheap status {target}"),
    )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        return None


def _has_engine(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/maps", "rb") as lines:
            return any(b"/liveheap/_heap." in line for line in lines)
    except OSError:
        return False
