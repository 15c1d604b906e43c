"""Bring an agent into a worker: which ways there are, and how each is walked.

From the mildest to the strongest, the next only where the one before did not do:

    manhole      a console that the worker's own program has opened gets a line
    remote_exec  CPython 3.14+: the interpreter runs a script, nobody is stopped
    ptrace       x86-64: the main thread is stopped for a moment and given a line to run

Each has the worker run the same script (bootstrap.py), which says over a pipe when it
begins and what came of it. So every wait is a wait for an event with a bound, and a way
that did not get through is given up for certain: once the pipe is closed and the
luggage is gone, a script that runs after all finds nothing and does nothing.

Nothing stays on disk: what the agent needs is in the worker's memory when it has
started. The one exception is said in remote_exec.py.
"""

import contextlib
import marshal
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from liveheap_client import outside
from liveheap_client.errors import InjectError
from liveheap_client.inject import bootstrap as script
from liveheap_client.inject import luggage, manhole, remote_exec
from liveheap_client.inject.injecting import Injecting
from liveheap_client.inject.luggage import Luggage
from liveheap_client.inject.place import Place, place_for
from liveheap_client.inject.process import Process, refuse_if_halted
from liveheap_client.inject.report import Report

REPORT = "report"
SCRIPT = "bootstrap.py"
WAITS_S = {"manhole": 3.0, "remote_exec": 1.5, "ptrace": 15.0}
DEAF_S = 0.3
SAY_AFTER_S = 1.5
FINISH_S = 30.0
TOTAL_S = 90.0
MOST_SLICES = 200

# What the worker is given to run: one expression, for a console and a C function alike.
# Names of its own in __main__ must not stand in the way, nor ours stay there.
# The script is there as text, and as bytecode for interpreters whose bytecode is ours.
_LINE = (
    "try:\n"
    " import _io, marshal, _frozen_importlib_external as here\n"
    " same = here.MAGIC_NUMBER == OPTIONS['magic']\n"
    " path = OPTIONS['script'] + same * '.bin'\n"
    " with _io.open(path, 'rb') as file: text = file.read()\n"
    " exec(marshal.loads(text) if same else compile(text, path, 'exec'), globals())\n"
    "except BaseException: pass\n"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An agent that is there now, and how it came."""

    process: Process
    way: str
    package: str
    """Whose modules it is: the worker's own, or those that were brought."""
    socket: str
    loading_s: float
    longest_s: float
    """For how long the worker's thread was held up at a stretch."""
    stopped_ms: float | None = None
    mode: str | None = None
    refused: tuple[str, ...] = ()
    """The ways that did not do, and why."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What every way needs."""

    process: Process
    place: Place
    line: str
    report: Report
    say: Callable[[str], None]


@dataclass(slots=True)
class _Told:
    """What a way tells besides the script's report."""

    mode: str | None = None
    stopped_ms: float | None = None
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    slices_s: list[float] = field(default_factory=list)


class NotThisWay(Exception):
    """This way did not get through; the next may."""


def ways(process: Process) -> list[str]:
    """Return the ways that a process offers, the mildest first."""
    found = []
    if manhole.is_there(process):
        found.append("manhole")
    if remote_exec.is_possible(process):
        found.append("remote_exec")
    if os.uname().machine == "x86_64":
        found.append("ptrace")
    return found


def bring(
    process: Process,
    *,
    agent: Path | None,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Arrival:
    """Bring an agent into a process; return when it listens.

    Raises:
        InjectError: none is there, for a reason, and nothing of ours has stayed.
    """
    _refuse_if_unwanted(process)
    packed = _pack(process, agent)
    offered = ways(process)
    if not offered:
        raise InjectError(
            f"there is no way into a running worker on {os.uname().machine} "
            f"with Python {process.python} yet",
            hint="start the agent in it: liveheap run -- CMD",
        )
    told = _Told()
    with _prepared(process, packed, environ, say) as attempt:
        for way in offered:
            try:
                facts = _walk(way, attempt, told)
            except (NotThisWay, InjectError) as exc:
                if "began" in attempt.report.facts and isinstance(exc, InjectError):
                    raise
                told.refused.append(f"{way}: {exc}")
                last = exc
                continue
            remote_exec.clear(attempt.place.home_fd, told.left, way)
            return _arrival(process, way, facts, told)
    raise _none_did(process, told, last)


def _walk(way: str, attempt: Attempt, told: _Told) -> Mapping[str, str]:
    """Walk one way as often as it takes: the agent is loaded bit by bit."""
    told.slices_s.clear()
    while True:
        attempt.report.begin_anew()
        facts = _WALKS[way](attempt, told)
        told.slices_s.append(_seconds(facts.get("seconds", "")))
        if facts["state"] != "more":
            return facts
        if len(told.slices_s) >= MOST_SLICES:
            raise InjectError(
                f"the agent is still not loaded in process {attempt.process.pid}",
                hint="try again when the worker has more time",
            )


def _pack(process: Process, agent: Path | None) -> Luggage | None:
    """Return the luggage; None if none fits, but the worker has a liveheap."""
    try:
        return luggage.pack(process.python, agent)
    except InjectError:
        if agent is None and process.has_its_own():
            return None
        raise


def _refuse_if_unwanted(process: Process) -> None:
    """Respect the kill switch."""
    environ = process.environ()
    if environ.get("LIVEHEAP", "").strip().lower() in ("0", "false", "no", "off"):
        raise InjectError(
            f"LIVEHEAP={environ['LIVEHEAP']} in the environment of process "
            f"{process.pid} says that no agent shall run in it",
            hint="start it without LIVEHEAP=0",
        )


@contextlib.contextmanager
def _prepared(
    process: Process,
    packed: Luggage | None,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[Attempt]:
    """Have everything lie ready on the worker's side, and take it away again."""
    room = packed.n_bytes if packed is not None else 0
    with place_for(process, room) as place:
        if packed is not None:
            packed.unpack(place)
        text = Path(script.__file__).read_bytes()
        place.write(SCRIPT, text)
        place.write(f"{SCRIPT}.bin", marshal.dumps(compile(text, SCRIPT, "exec")))
        with Report(place.make_fifo(REPORT), process) as report:
            place.hand_over()
            options = {
                "report": f"{place.path}/{REPORT}",
                "script": f"{place.path}/{SCRIPT}",
                "magic": MAGIC_NUMBER,
                "folder": place.path if packed is not None else "",
                "order": packed.order if packed is not None else [],
                "in_memory": not place.may_execute,
                "until": time.time() + TOTAL_S,
                "settings": _settings(process, place, environ),
            }
            spaces = {"OPTIONS": options, "__name__": "liveheap_bootstrap"}
            line = f"__import__('builtins').exec({_LINE!r}, {spaces!r})"
            yield Attempt(process, place, line, report, say)


def _settings(
    process: Process, place: Place, environ: Mapping[str, str]
) -> dict[str, object]:
    """Return the settings of the agent: it stays out of children that were not asked
    for, and lives where we look for it, if it can go there."""
    settings: dict[str, object] = {"children": False}
    chosen = environ.get("LIVEHEAP_DIR")
    if chosen and process.sees_our_files and not process.environ().get("LIVEHEAP_DIR"):
        with contextlib.suppress(OSError):
            if os.stat(chosen).st_uid == process.uid:
                return {**settings, "dir": os.path.abspath(chosen)}
    if not place.home.startswith(("/tmp/", "/run/")):
        return {**settings, "dir": place.home}
    return settings


def _by_manhole(attempt: Attempt, told: _Told) -> Mapping[str, str]:
    attempt.say("sending a line to the manhole that the worker has opened")
    try:
        manhole.say(attempt.process, attempt.line, timeout_s=WAITS_S["manhole"])
    except manhole.NoManhole as exc:
        raise NotThisWay(str(exc)) from exc
    return _outcome(attempt, "manhole")


def _by_remote_exec(attempt: Attempt, told: _Told) -> Mapping[str, str]:
    if not told.slices_s:
        attempt.say("having the interpreter run a script: sys.remote_exec")
    name = remote_exec.script_name(attempt.process, secrets.token_hex(4))
    place = attempt.place
    place.write_beside(name, attempt.line.encode() + b"\n")
    try:
        remote_exec.call(
            attempt.process, f"{place.home}/{name}", timeout_s=WAITS_S["remote_exec"]
        )
        wait_s = DEAF_S if remote_exec.is_deaf(attempt.process) else None
        return _outcome(attempt, "remote_exec", wait_s=wait_s)
    except remote_exec.NoRemoteExec as exc:
        raise NotThisWay(str(exc)) from exc
    finally:
        if "began" in attempt.report.facts:
            os.unlink(name, dir_fd=place.home_fd)
        else:
            remote_exec.neutralize(place.home_fd, name)
            told.left.append(name)


def _by_ptrace(attempt: Attempt, told: _Told) -> Mapping[str, str]:
    if not told.slices_s:
        attempt.say("stopping its main thread to give it lines to run: ptrace")
    with Injecting(
        attempt.process.pid, attempt.line, timeout_s=WAITS_S["ptrace"]
    ) as injecting:
        facts = _outcome(attempt, "ptrace", injecting.check)
    told.mode = injecting.done.mode
    told.stopped_ms = max(told.stopped_ms or 0.0, injecting.done.stopped_ms)
    return facts


_WALKS = {
    "manhole": _by_manhole,
    "remote_exec": _by_remote_exec,
    "ptrace": _by_ptrace,
}


def _outcome(
    attempt: Attempt,
    way: str,
    meanwhile: Callable[[], None] = lambda: None,
    *,
    wait_s: float | None = None,
) -> Mapping[str, str]:
    """Wait for what the script reports; return it if an agent is there.

    Raises:
        NotThisWay: the script was not run, or not where it should be.
        InjectError: it was run, and there is no agent for another reason.
    """
    report, pid = attempt.report, attempt.process.pid
    wait_s = WAITS_S[way] if wait_s is None else wait_s
    if not report.wait("began", min(SAY_AFTER_S, wait_s), meanwhile):
        left = wait_s - SAY_AFTER_S
        if left > 0:
            attempt.say(
                f"process {pid} has not come by its next line of Python for "
                f"{SAY_AFTER_S:g} s: it may be in a long call that holds the GIL"
            )
            attempt.say(outside.told(pid, None))
        if left <= 0 or not report.wait("began", left, meanwhile):
            raise NotThisWay(f"the worker ran no line of it within {wait_s:g} s")
    if not report.wait("state", FINISH_S):
        raise InjectError(
            f"the agent is being loaded in process {pid} for more than {FINISH_S:g} s",
            hint=f"where it hangs: py-spy dump --pid {pid}",
        )
    facts = report.facts
    if facts["state"] in ("started", "running", "more"):
        return facts
    if facts["state"] == "wrong-thread":
        raise NotThisWay("it would run beside an event loop's main thread")
    raise _refused(attempt.process, facts)


def _refused(process: Process, facts: Mapping[str, str]) -> InjectError:
    """Say why the script started no agent."""
    state, error = facts["state"], facts.get("error", "no reason given")
    if state == "busy":
        return InjectError(
            f"process {process.pid} was not to be disturbed: {error}",
            hint="try again in a moment",
        )
    if state == "off":
        return InjectError(
            f"agents are switched off for process {process.pid}",
            hint="by LIVEHEAP=0, or by a file `disabled` in its run directory",
        )
    if state in ("missing", "unfit"):
        return InjectError(
            f"process {process.pid} can import no liveheap: {error}",
            hint=f"{luggage.command_for(process.python)}; --agent agent-"
            f"{process.python}",
        )
    return InjectError(
        f"the agent does not start in process {process.pid}: {error}",
        hint="nothing of it has stayed there; LIVEHEAP_DIR of the worker may be unfit, "
        "or the agent not built for its system",
    )


def _none_did(process: Process, told: _Told, last: Exception) -> InjectError:
    refuse_if_halted(process)
    hint = getattr(last, "hint", None)
    return InjectError(
        "\n".join((f"no way into process {process.pid} was open:", *told.refused)),
        hint=hint
        or f"try again when it is back in Python; or: liveheap doctor {process.pid}",
    )


def _arrival(
    process: Process, way: str, facts: Mapping[str, str], told: _Told
) -> Arrival:
    return Arrival(
        process=process,
        way=way if facts["state"] == "started" else "running",
        package=facts.get("package", "?"),
        socket=facts.get("socket", ""),
        loading_s=sum(told.slices_s),
        longest_s=max(told.slices_s, default=0.0),
        stopped_ms=told.stopped_ms if way == "ptrace" else None,
        mode=told.mode if way == "ptrace" else None,
        refused=tuple(told.refused),
    )


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
