"""All families of checks, in order, each within a bounded time.

What a family looks at may hang: a file system whose server is gone, a process whose
memory map is locked. So each look is made in a thread of its own and given up after
LOOK_S; the thread then waits on by itself, and ends with this process.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from liveheap.errors import LiveheapError
from liveheap_client.doctor import (
    agent,
    bounds,
    directory,
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
from liveheap_client.doctor.finding import Finding, note, problem
from liveheap_client.doctor.subject import Subject, settings_of
from liveheap_client.errors import InjectError
from liveheap_client.inject.process import NotPython, python_of

LOOK_S = 8.0
Answer = TypeVar("Answer")


class TookTooLong(Exception):
    """A look that did not come back in time."""


@dataclass(frozen=True, slots=True)
class Family:
    """Checks that share their facts. `look` returns None where they do not apply."""

    name: str
    look: Callable[[Subject], Any]
    judge: Callable[[Any], Iterator[Finding]]


OF_BOTH = (
    Family("directory", directory.look, directory.judge),
    Family("settings", switches.look, switches.judge),
    Family("token", keys.look, keys.judge),
)
OF_A_PROCESS = (
    *OF_BOTH,
    Family("namespaces", namespaces.look, namespaces.judge),
    Family("injection", tracing.look, tracing.judge),
    Family("versions", versions.look, versions.judge),
    Family("memory", memory.look, memory.judge),
    Family("spool", spool.look, spool.judge),
    Family("limits", bounds.look, bounds.judge),
)
OF_THE_MACHINE = (
    Family("workers", machine.look, machine.judge),
    *OF_BOTH,
    Family("injection", tracing.look, tracing.judge),
    Family("versions", versions.look, versions.judge),
    Family("memory", memory.look, memory.judge),
    Family("spool", spool.look, spool.judge),
)
OF_A_SOCKET = (Family("token", keys.look, keys.judge),)


def of_process(pid: int, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at one process of this machine."""
    try:
        known = bounded(lambda: process.look(pid))
        settings = bounded(lambda: settings_of(pid))
    except TookTooLong:
        yield _too_long(process.CHECK)
        return
    yield from process.judge(known)
    if not known.is_worker:
        return
    subject = Subject(environ, known, settings=settings)
    if known.is_ours:
        try:
            subject = replace(
                subject, agent=bounded(lambda: agent.look(known, environ))
            )
            no_python = bounded(lambda: _not_python(subject))
        except TookTooLong:
            yield _too_long(agent.CHECK)
        else:
            assert subject.agent is not None
            yield from agent.judge(subject.agent)
            if no_python is not None:
                yield no_python
                return
    yield from _all(OF_A_PROCESS, subject)


def _not_python(subject: Subject) -> Finding | None:
    """Say that nothing can be done with a process, because it runs something else."""
    if subject.pid is None or subject.agent is None or subject.agent.is_there:
        return None
    try:
        python_of(subject.pid)
    except NotPython as error:
        return problem(versions.CHECK, str(error), error.hint or "liveheap ps")
    except InjectError:  # who forbids to look is told by `injection`
        return None
    return None


def of_machine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at this machine: what holds for any of its workers."""
    yield from _all(OF_THE_MACHINE, Subject(environ))


def of_socket(facts: agent.AgentFacts, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Judge what came of asking a socket or a port, whose process is not known."""
    yield from agent.judge(facts)
    yield from _all(OF_A_SOCKET, Subject(environ, agent=facts))


def _all(families: tuple[Family, ...], subject: Subject) -> Iterator[Finding]:
    for family in families:
        yield from examine(family, subject)


def examine(family: Family, subject: Subject) -> Iterator[Finding]:
    """Look and judge; a check that fails is told, and does not end the others."""
    try:
        facts = bounded(lambda: family.look(subject))
    except TookTooLong:
        yield _too_long(family.name)
    except (LiveheapError, OSError, ValueError, KeyError, IndexError) as error:
        yield note(family.name, f"could not be looked at: {error}")
    else:
        if facts is not None:
            yield from family.judge(facts)


def _too_long(check: str) -> Finding:
    return note(
        check,
        f"could not be looked at within {LOOK_S:g} s: a file system may hang, or the "
        "process's memory map is locked",
        "mount; dmesg",
    )


def bounded(look: Callable[[], Answer]) -> Answer:
    """Return what a look finds, or raise TookTooLong."""
    outcome: list[tuple[Answer | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((look(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LOOK_S)
    if not outcome:
        raise TookTooLong
    answer, error = outcome[0]
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
