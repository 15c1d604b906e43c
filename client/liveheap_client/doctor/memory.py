"""Whether a snapshot or a frozen clone would be admitted, and for how long it stops.

The agent decides that by the same functions, with figures of the moment and with a rate
that it has learnt from its own snapshots; this is the forecast before the first one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from liveheap import admission, limits
from liveheap.admission import MB
from liveheap.limits import Bound
from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.quantities import human_bytes

CHECK, PAUSE = "memory", "pause"
CLONE_SHARE = 1.1
DEFAULT_PAUSE_MS = 100.0
_THP = "/sys/kernel/mm/transparent_hugepage/enabled"


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """A process's memory, and the room that each limit around it leaves."""

    target: str
    rss: int = 0
    anonymous: int = 0
    huge: int | None = None
    predicted_ms: float = 0.0
    bounds: tuple[Bound, ...] = ()
    processes: tuple[Bound, ...] = ()
    is_readable: bool = True
    thp: str | None = None
    owners_limit_ms: float | None = None
    """What the worker's owner allows at most: LIVEHEAP_MAX_PAUSE."""

    @property
    def tightest(self) -> Bound | None:
        return min(self.bounds, key=lambda bound: bound.room, default=None)


def look(subject: Subject) -> MemoryFacts:
    """Read /proc and the cgroups; with a lock on the worker's memory map at no time."""
    who = subject.who
    memory = limits.process_memory(who=who)
    predictor = admission.PausePredictor()
    huge = None
    if predictor.upper_bound_ms(memory) > DEFAULT_PAUSE_MS:
        huge = limits.huge_pages(who=who)
    agent = subject.agent
    owners = None if agent is None else _owners_limit(agent.fact("limits"))
    return MemoryFacts(
        target=str(subject.pid or ""),
        rss=memory.rss,
        anonymous=memory.anonymous,
        huge=huge,
        predicted_ms=predictor.predict_ms(memory, huge),
        bounds=tuple(limits.memory_bounds(who=who)),
        processes=tuple(limits.process_bounds(who=who)),
        is_readable=memory.rss > 0,
        thp=_thp(),
        owners_limit_ms=owners,
    )


def _owners_limit(told: object) -> float | None:
    """Find the owner's limit in what `status` lists."""
    for each in told if isinstance(told, list) else ():
        if isinstance(each, dict) and each.get("name") == "max_pause":
            value = each.get("value")
            return float(value) if isinstance(value, int | float) else None
    return None


def judge(facts: MemoryFacts) -> Iterator[Finding]:
    """Compare what is needed with what there is."""
    if not facts.target:
        yield _machine(facts)
        return
    if not facts.is_readable:
        yield note(CHECK, "its memory may not be looked at")
        return
    yield _room(facts)
    yield from _clone(facts)
    for bound in facts.processes:
        if bound.room < 1:
            yield problem(
                CHECK,
                f"{bound.name} permits no further process: no snapshot can be made",
                f"raise the limit, or count in the worker: liveheap histogram "
                f"{facts.target}",
            )
    yield _pause(facts)


def _machine(facts: MemoryFacts) -> Finding:
    tightest = facts.tightest
    if tightest is None:
        return note(CHECK, "no limit on memory can be read here: is /proc mounted?")
    said = f"{tightest.name} leaves {human_bytes(tightest.room)}"
    if tightest.room < admission.LEAST_HEADROOM:
        least = human_bytes(admission.LEAST_HEADROOM)
        return problem(
            CHECK, f"{said}; a snapshot needs {least} at least", "liveheap ps"
        )
    return ok(CHECK, said)


def _room(facts: MemoryFacts) -> Finding:
    need, tightest = _needed(facts), facts.tightest
    if tightest is None:
        return note(CHECK, "no limit on its memory can be read here")
    said = (
        f"a snapshot needs {human_bytes(need)} beside its {human_bytes(facts.rss)}; "
        f"{tightest.name} leaves {human_bytes(tightest.room)}"
    )
    if tightest.room >= need:
        return ok(CHECK, said)
    return problem(
        CHECK,
        f"{said}: it is refused",
        "give the worker more memory, or risk it: liveheap snapshot "
        f"{facts.target} --force",
    )


def _needed(facts: MemoryFacts) -> int:
    """Return what a snapshot is admitted with."""
    return max(int(facts.rss * admission.HEADROOM_SHARE), admission.LEAST_HEADROOM)


def _clone(facts: MemoryFacts) -> Iterator[Finding]:
    need, tightest = int(facts.rss * CLONE_SHARE), facts.tightest
    if tightest is not None and _needed(facts) <= tightest.room < need:
        yield note(
            CHECK,
            f"a frozen clone may need {human_bytes(need)}, all that the worker has; "
            f"{tightest.name} leaves {human_bytes(tightest.room)}: it is refused",
            f"liveheap snapshot {facts.target} needs a twentieth of that",
        )


def _pause(facts: MemoryFacts) -> Finding:
    allowed = min(facts.owners_limit_ms or DEFAULT_PAUSE_MS, DEFAULT_PAUSE_MS)
    said = (
        f"a snapshot stops it for about {max(facts.predicted_ms, 0.1):.1f} ms "
        f"({human_bytes(facts.anonymous)} of its own"
    )
    if facts.huge is not None and facts.huge > MB:
        said += f", {human_bytes(facts.huge)} of it in huge pages, which cost little"
    said += ")"
    if facts.predicted_ms <= allowed:
        return ok(PAUSE, said)
    wanted = int(facts.predicted_ms * 1.3) + 1
    if facts.owners_limit_ms is not None and wanted > facts.owners_limit_ms:
        return problem(
            PAUSE,
            f"{said}, and its owner allows {facts.owners_limit_ms:g} ms at most",
            f"restart the worker with LIVEHEAP_MAX_PAUSE={wanted}",
        )
    more = ""
    if facts.thp == "never":
        more = "; transparent huge pages are off here, which would shorten it"
    return note(
        PAUSE,
        f"{said}, longer than the {allowed:g} ms that are allowed unasked{more}",
        f"liveheap snapshot {facts.target} --max-pause {wanted}",
    )


def _thp() -> str | None:
    """Return the setting of transparent huge pages, which stands in brackets."""
    chosen = limits.read_text("/", _THP.lstrip("/")).partition("[")[2]
    return chosen.partition("]")[0] or None
