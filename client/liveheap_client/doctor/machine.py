"""The workers of this machine: who has an agent, who answers, what was left behind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from liveheap_client import roster
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.errors import ConnectError

CHECK = "workers"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class WorkersFacts:
    """The list as `ps` has it."""

    rows: tuple[Mapping[str, Any], ...] = ()
    fault: str | None = None
    hint: str | None = None


def look(subject: Subject) -> WorkersFacts:
    """List them, and ask all at once."""
    try:
        with roster.calling(subject.environ) as roll:
            return WorkersFacts(tuple(roster.local(subject.environ, roll)))
    except ConnectError as error:
        return WorkersFacts(fault=str(error), hint=error.hint)


def judge(facts: WorkersFacts) -> Iterator[Finding]:
    """Count who answers; name who does not."""
    if facts.fault is not None:
        yield problem(CHECK, facts.fault, facts.hint or "unset LIVEHEAP_DIR")
        return
    if not facts.rows:
        yield note(
            CHECK,
            "no worker with an agent is running here",
            "liveheap run -- CMD, or liveheap inject PID",
        )
        return
    by_state: dict[str, list[str]] = {}
    for row in facts.rows:
        state = str(row.get("state") or roster.ANSWERS)
        by_state.setdefault(state, []).append(str(row.get("pid")))
    answering = len(by_state.pop(roster.ANSWERS, []))
    if answering:
        yield ok(CHECK, f"{answering} of {len(facts.rows)} workers answer")
    for state, pids in sorted(by_state.items()):
        named = ", ".join(pids[:_MOST_NAMED])
        more = f" and {len(pids) - _MOST_NAMED} more" * (len(pids) > _MOST_NAMED)
        yield problem(
            CHECK, f"{_WORDS.get(state, state)}: {named}{more}", _typed(state, pids[0])
        )


_WORDS = {
    roster.REFUSED: "let nobody of you in",
    roster.SILENT: "do not answer within a second",
    roster.STOPPED: "are stopped",
}


def _typed(state: str, pid: str) -> str:
    if state == roster.STOPPED:
        return f"kill -CONT {pid}"
    return f"liveheap doctor {pid}"
