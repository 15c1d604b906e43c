"""The token: both sides have to hold the same one, in a file that nobody else can read.

Where a token may lie, and what is wrong with one, `liveheap.tokens` decides; here it is
asked what it would take for us (or a key that was handed out), and whether the worker
looks elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from liveheap import tokens
from liveheap.errors import AuthenticationError
from liveheap_client import credentials
from liveheap_client.doctor.agent import ANSWERS
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject

CHECK = "token"
PLACES = ("LIVEHEAP_TOKEN_FILE", "CREDENTIALS_DIRECTORY")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What we would use, and which places the worker was told."""

    found: bool
    fault: str | None = None
    hint: str | None = None
    ours: Mapping[str, str] | None = None
    theirs: Mapping[str, str] | None = None
    """The places that either environment names; None: not known."""
    refused: bool = False
    """Whether the agent and we do not hold the same one."""
    proved: bool = False
    """Whether both sides have proved that they hold the same one."""
    has_agent: bool = False
    is_missing: bool = False
    """Whether there is no file at all, rather than one that is unfit."""


def look(subject: Subject) -> KeyFacts:
    """Look for our token as a client does; read it, and forget it."""
    agent = subject.agent
    run_dir = Path(agent.socket).parent if agent and agent.socket else None
    fault = hint = None
    try:
        credentials.find(subject.environ, run_dir)
    except AuthenticationError as error:
        fault, hint = str(error), error.hint
    return KeyFacts(
        found=fault is None,
        fault=fault,
        hint=hint,
        ours=_places(subject.environ),
        theirs=None if subject.settings is None else _places(subject.settings),
        refused=agent is not None and agent.outcome in ("not-genuine", "key"),
        proved=agent is not None and agent.outcome == ANSWERS,
        has_agent=agent is not None and agent.is_there,
        is_missing=_is_missing(subject.environ),
    )


def _is_missing(environ: Mapping[str, str]) -> bool:
    try:
        return not tokens.files(environ)
    except AuthenticationError:  # one that was chosen, and is not there
        return False


def _places(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in PLACES if environ.get(name)}


def judge(facts: KeyFacts) -> Iterator[Finding]:
    """Say whether there is one, and whether it is the worker's."""
    if facts.fault is not None:
        if facts.is_missing and not facts.has_agent and not facts.ours:
            yield note(CHECK, f"{facts.fault}: the first agent makes one")
        else:
            yield problem(CHECK, facts.fault, facts.hint or "liveheap token --help")
    elif facts.refused:
        yield problem(
            CHECK,
            "you hold a token, and the worker another: one of the two was replaced "
            "since, or they were told different places",
            "liveheap ps of the worker's user, with the worker's LIVEHEAP_TOKEN_FILE",
        )
    elif facts.proved:
        yield ok(CHECK, "you and the worker hold the same")
    else:
        yield ok(CHECK, "there is one that you can read")
    yield from _told(facts)


def _told(facts: KeyFacts) -> Iterator[Finding]:
    """Places that one side was told and the other was not."""
    if facts.theirs is None or not facts.has_agent:
        return
    ours = facts.ours or {}
    for name, place in facts.theirs.items():
        if ours.get(name) == place or not (facts.refused or facts.fault):
            continue
        yield note(
            CHECK,
            f"the worker was started with {name}={place}, and looks there first",
            f"{name}={place} liveheap status",
        )
