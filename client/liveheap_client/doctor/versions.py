"""Whether what is installed here, what runs there and what we know of fit together."""

import contextlib
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import __version__
from liveheap.protocol.auth import MIN_VERSION, VERSION
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.errors import InjectError
from liveheap_client.inject.process import NEWEST, OLDEST, python_of

CHECK = "versions"
WARNS_OF_FORKS, ERRORS_OF_FORKS = (3, 12), (3, 15)
_NEEDED = ("msgpack", "zstandard")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What runs where."""

    ours: str = __version__
    our_python: str = platform.python_version()
    machine: str = "x86_64"
    missing: tuple[str, ...] = ()
    """Packages that this installation needs and lacks."""
    target: str = ""
    python: tuple[int, int] | None = None
    free_threaded: bool = False
    debug: bool = False
    musl: bool = False
    agents: str | None = None
    protocol: int | None = None
    engine: str | None = None
    kind: str | None = None
    has_agent: bool = False
    implementation: str | None = None


def look(subject: Subject) -> VersionFacts:
    """Look at what is mapped, and at what the agent says."""
    here = VersionFacts(
        machine=os.uname().machine,
        missing=tuple(n for n in _NEEDED if importlib.util.find_spec(n) is None),
    )
    if subject.process is None or subject.pid is None:
        return here
    agent, python = subject.agent, None
    with contextlib.suppress(InjectError):  # who forbids that is told by `injection`
        python = python_of(subject.pid)
    told = (lambda name: None) if agent is None else agent.fact
    engine = told("engine")
    return VersionFacts(
        machine=here.machine,
        missing=here.missing,
        target=str(subject.pid),
        python=python.minor if python else None,
        free_threaded=python is not None and python.free_threaded,
        debug=python is not None and python.debug,
        musl=_has_musl(subject.pid),
        agents=_text(told("version")),
        protocol=told("protocol"),
        engine=None if engine in (None, "ok") else str(engine),
        kind=_text(told("kind")),
        has_agent=agent is not None and agent.is_there,
        implementation=_text(told("implementation")),
    )


def judge(facts: VersionFacts) -> Iterator[Finding]:
    """Say what does not fit."""
    for name in facts.missing:
        yield problem(
            CHECK,
            f"this installation lacks {name}, which liveheap needs",
            "python3 -m pip install --force-reinstall liveheap",
        )
    if facts.machine != "x86_64":
        yield note(
            CHECK,
            f"on {facts.machine} no agent can be brought into a running worker",
            "liveheap run -- CMD",
        )
    if not facts.target:
        yield ok(CHECK, f"liveheap {facts.ours} on Python {facts.our_python} here")
        return
    yield from _interpreter(facts)
    yield from _agent(facts)


def _interpreter(facts: VersionFacts) -> Iterator[Finding]:
    known = f"CPython {_dotted(OLDEST)} to {_dotted(NEWEST)}"
    if facts.python is not None:
        name = f"Python {_dotted(facts.python)}"
        if facts.free_threaded:
            yield problem(
                CHECK,
                f"it runs a free-threaded {name}: its heap cannot be read",
                "run it on a build with a GIL",
            )
        elif not OLDEST <= facts.python <= NEWEST:
            yield problem(
                CHECK,
                f"it runs {name}, whose structures this liveheap does not know",
                f"liveheap reads {known}: pip install -U liveheap",
            )
        elif facts.debug:
            yield note(
                CHECK,
                f"it runs a debug build of {name}: the engine's self-test decides, "
                "allocation sites cannot be sampled",
            )
        else:
            yield ok(CHECK, f"it runs {name}")
    if facts.musl:
        yield note(
            CHECK,
            "it runs on musl: malloc's own figures and trim are glibc's, and there are "
            "none",
        )


def _agent(facts: VersionFacts) -> Iterator[Finding]:
    if facts.engine is not None:
        yield problem(
            "engine",
            f"the engine does not work in it: {facts.engine}",
            "pip install --force-reinstall liveheap, in the worker's environment",
        )
    protocol = facts.protocol
    if isinstance(protocol, int) and not MIN_VERSION <= protocol <= VERSION:
        yield problem(
            CHECK,
            f"its agent speaks protocol {protocol}, this client {MIN_VERSION} to "
            f"{VERSION}",
            "pip install -U liveheap, on the older side",
        )
    elif facts.agents is not None and facts.agents != facts.ours:
        yield note(
            CHECK,
            f"its agent is of liveheap {facts.agents}, this is {facts.ours}: some "
            "answers may lack something",
            "pip install -U liveheap on the older side; then restart the worker",
        )
    if facts.kind == "master" and facts.python and facts.python >= WARNS_OF_FORKS:
        yield _forks(facts.python)


def _forks(python: tuple[int, int]) -> Finding:
    what = "raises where warnings are errors"
    if python < ERRORS_OF_FORKS:
        what = "warns that it has a second thread"
    return note(
        "forks",
        f"it forks, and Python {_dotted(python)} {what}: the agent's thread is one",
        "LIVEHEAP_MASTER=0 for the worker: the agent comes up in its children alone",
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _has_musl(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/maps", "rb") as lines:
            return any(b"/ld-musl-" in line for line in lines)
    except OSError:
        return False
