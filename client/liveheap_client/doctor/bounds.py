"""What the worker's owner allows, and how much of it is used up right now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from liveheap_client.doctor.finding import Finding, note, ok
from liveheap_client.doctor.subject import Subject

CHECK = "limits"


@dataclass(frozen=True, slots=True)
class BoundFacts:
    """The limits that `status` lists, by name, and what is in use."""

    target: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    sessions: int = 0
    heavy: str | None = None


def look(subject: Subject) -> BoundFacts | None:
    """Take it from what the agent has said; nothing without its word."""
    agent = subject.agent
    if agent is None or not agent.status:
        return None
    listed = agent.fact("limits")
    limits = {
        str(each.get("name")): each.get("value")
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
    }
    return BoundFacts(
        target=agent.target,
        limits=limits,
        sessions=max(int(agent.fact("sessions") or 0) - 1, 0),  # one of them is ours
        heavy=agent.fact("heavy"),
    )


def judge(facts: BoundFacts) -> Iterator[Finding]:
    """Say what is in use, and what the owner has set."""
    if facts.heavy:
        yield note(
            CHECK,
            f"{facts.heavy} is running in it for another client: what stops the worker "
            "goes one at a time",
            f"liveheap status {facts.target}",
        )
    most = facts.limits.get("max_sessions")
    if isinstance(most, int) and facts.sessions >= most - 1:
        yield note(
            CHECK,
            f"{facts.sessions} of {most} sessions are open: one more, and others are "
            "told busy",
            "end one, or start the worker with LIVEHEAP_MAX_SESSIONS",
        )
    if facts.limits:
        listed = (f"{name} {_plain(value)}" for name, value in facts.limits.items())
        yield ok(CHECK, ", ".join(listed))


def _plain(value: object) -> str:
    """Write a limit as its setting is written."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
