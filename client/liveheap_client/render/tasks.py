"""What runs in a worker, and what is done, as lines of text."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from liveheap.protocol.results import Column
from liveheap_client.render.escape import visible
from liveheap_client.render.table import Look, table
from liveheap_client.render.units import human_seconds

LISTS = ("tasks", "done_by_name")
_RUNNING = (
    Column("task", "text"),
    Column("id", "text"),
    Column("on", "text"),
    Column("for", "seconds"),
)
_DONE = (Column("done", "text"), Column("count", "count"))
_MOST_DONE = 10
_MOST_NAMES = 3


def lines(facts: Mapping[str, Any], *, look: Look) -> Iterator[str]:
    """Yield a table of what runs and one of what is done, where there is any."""
    running, done = (_maps(facts.get(name)) for name in LISTS)
    if running:
        rows = [_row(task, facts.get("pid")) for task in running]
        yield from table(_RUNNING, rows, look=look)
        yield from _rest(len(running), facts.get("running"), "running")
    if running and done:
        yield ""
    if done:
        counts = [(each.get("name"), each.get("count")) for each in done]
        yield from table(_DONE, counts[:_MOST_DONE], look=look)
        yield from _rest(min(len(counts), _MOST_DONE), len(counts), "names")


def summary(facts: Mapping[str, Any]) -> str | None:
    """Return in one line what runs; None if nothing does."""
    running = _maps(facts.get("tasks"))
    if not running:
        return None
    names = Counter(visible(task.get("name")) for task in running).most_common()
    parts = [f"{count} × {name}" if count > 1 else name for name, count in names]
    more = ["…"] if len(parts) > _MOST_NAMES else []
    longest = max(_seconds(task) or 0.0 for task in running)
    since = f", for up to {human_seconds(longest)}" if longest else ""
    return f"running: {', '.join(parts[:_MOST_NAMES] + more)}{since}"


def _row(task: Mapping[str, Any], pid: object) -> tuple[object, ...]:
    return (
        f"{task.get('kind')} {task.get('name')}",
        task.get("id"),
        _holder(task, pid),
        _seconds(task),
    )


def _holder(task: Mapping[str, Any], pid: object) -> str:
    """Say on what it runs, as retaining paths do."""
    holder, address, thread = (task.get(k) for k in ("holder", "address", "thread"))
    if holder == "thread":
        if thread is None:
            return "thread"
        return "main thread" if thread == pid else f"thread {thread}"
    what = "asyncio task" if holder == "asyncio" else str(holder)
    return f"{what} {address:#x}" if isinstance(address, int) else what


def _rest(shown: int, total: object, what: str) -> Iterator[str]:
    if isinstance(total, int) and total > shown:
        yield f"... and {total - shown} more {what}"


def _maps(value: object) -> list[Mapping[str, Any]]:
    """Return the maps in a list that an agent has sent."""
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def _seconds(task: Mapping[str, Any]) -> float | None:
    value = task.get("seconds")
    return value if isinstance(value, float) else None
