"""What the worker's owner has set: switched off, left out, limited, or misspelled.

The environment is the one that the process was started with; what its program changed
since does not show, and `liveheap.start(...)` may say otherwise.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from liveheap.agent import config
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject

CHECK = "settings"
_DEFAULT_SCOPE = "graph"
_MORE = {
    "read": "snapshots and all that is made of them need LIVEHEAP_ALLOW=graph",
    "graph": "values and frozen clones need LIVEHEAP_ALLOW=values, a console "
    "LIVEHEAP_ALLOW=exec",
    "values": "a console needs LIVEHEAP_ALLOW=exec",
}


@dataclass(frozen=True, slots=True)
class SwitchFacts:
    """Settings, and files that switch off."""

    target: str
    settings: Mapping[str, str] | None
    """None: not ours to read."""
    has_agent: bool
    off_files: tuple[str, ...] = ()
    ceiling: str | None = None
    """The scope that the agent itself says."""
    is_machine: bool = False


def look(subject: Subject) -> SwitchFacts:
    """Read the environment, and look for the file `disabled`."""
    settings = subject.environ if subject.process is None else subject.settings
    chosen = (settings or {}).get("LIVEHEAP_DIR")
    uid, root = subject.uid, subject.root
    places = (
        [chosen] if chosen else [f"/run/user/{uid}/liveheap", f"/tmp/liveheap-{uid}"]
    )
    files = [root + os.path.join(place, "disabled") for place in places]
    agent = subject.agent
    return SwitchFacts(
        target=str(subject.pid or ""),
        settings=settings,
        has_agent=agent is not None and agent.is_there,
        off_files=tuple(path for path in files if os.path.lexists(path)),
        ceiling=None if agent is None else agent.fact("scope_ceiling"),
        is_machine=subject.process is None,
    )


def judge(facts: SwitchFacts) -> Iterator[Finding]:
    """Say what is switched off, and what the owner allows."""
    for path in facts.off_files:
        yield problem(
            CHECK,
            f"{path} switches every agent of this user off",
            f"rm {path}; then restart the worker",
        )
    if facts.settings is None:
        yield note(
            CHECK,
            "its environment may not be read: LIVEHEAP_* settings are not known",
            f"sudo liveheap doctor {facts.target}",
        )
    else:
        yield from _of_environment(facts, facts.settings)
    ceiling = facts.ceiling or (facts.settings or {}).get("LIVEHEAP_ALLOW")
    if not facts.is_machine and (facts.has_agent or facts.settings is not None):
        allowed = ceiling or _DEFAULT_SCOPE
        more = _MORE.get(allowed)
        yield ok(
            CHECK, f"scope {allowed} is the ceiling" + (f"; {more}" if more else "")
        )


def _of_environment(
    facts: SwitchFacts, settings: Mapping[str, str]
) -> Iterator[Finding]:
    if settings.get("LIVEHEAP", "").strip().lower() in config.NO:
        whose = "your own environment" if facts.is_machine else "its environment"
        yield problem(
            CHECK,
            f"LIVEHEAP={settings['LIVEHEAP']} in {whose}: no agent starts, and none is "
            "brought in",
            "unset LIVEHEAP; then start the worker anew",
        )
    for complaint in config.read(settings, {}).complaints:
        yield problem(
            CHECK,
            f"{complaint}; the default holds instead",
            "correct it, then restart the worker",
        )
    if facts.is_machine or facts.has_agent:
        return
    if settings.get("LIVEHEAP_MASTER", "").strip().lower() in config.NO:
        yield note(
            CHECK,
            "LIVEHEAP_MASTER=0: this process stays without an agent, its forked "
            "children get one",
            "liveheap ps",
        )
    if settings.get("LIVEHEAP_CHILDREN", "").strip().lower() in config.NO:
        yield note(
            CHECK,
            "LIVEHEAP_CHILDREN=0: forked children get no agent",
            f"liveheap inject {facts.target}",
        )
    only = settings.get("LIVEHEAP_ONLY")
    if only:
        yield note(
            CHECK,
            f"LIVEHEAP_ONLY={only}: other programs get no agent",
            f"liveheap inject {facts.target}",
        )
