"""Whether the worker sees the same files, pids and users as we do.

A container or systemd's PrivateTmp hides the worker's socket from our paths; it is
reached through /proc/PID/root by whoever may look into the process.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from liveheap_client.doctor.finding import Finding, note, ok, problem
from liveheap_client.doctor.subject import Subject
from liveheap_client.inside import status_of

CHECK = "namespaces"
KINDS = {"mnt": "files", "pid": "process ids", "user": "users", "net": "network"}


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """Which namespaces of a process are not ours."""

    pid: int
    inner_pid: int
    foreign: tuple[str, ...] = ()
    unknown: bool = False
    """Whether we may not know."""
    other_root: bool = False
    can_enter: bool = True
    has_agent: bool = False


def look(subject: Subject) -> NamespaceFacts | None:
    """Compare; nothing of the sort without a process."""
    if subject.pid is None:
        return None
    pid, status = subject.pid, status_of(subject.pid) or {}
    theirs = {kind: _number(pid, kind) for kind in KINDS}
    foreign = [
        kind
        for kind, number in theirs.items()
        if number is not None and number != _number("self", kind)
    ]
    return NamespaceFacts(
        pid=pid,
        inner_pid=int(status.get("NSpid", str(pid)).split()[-1]),
        foreign=tuple(foreign),
        unknown=None in theirs.values(),
        other_root=subject.sees_other_files and "mnt" not in foreign,
        can_enter=os.access(f"/proc/{pid}/root", os.X_OK),
        has_agent=subject.agent is not None and subject.agent.is_there,
    )


def judge(facts: NamespaceFacts) -> Iterator[Finding]:
    """Say what it sees otherwise, and whether that is in the way."""
    if facts.unknown and not facts.can_enter:
        said = (
            "it may not be told whether it runs in a container: that takes its rights"
        )
        if facts.has_agent:
            yield note(CHECK, said)
        else:
            yield note(CHECK, said, f"sudo liveheap doctor {facts.pid}")
        return
    if not facts.foreign and not facts.other_root:
        yield ok(CHECK, "it sees the same files and processes as you")
        return
    others = ", ".join(KINDS[kind] for kind in facts.foreign) or "files (chroot)"
    inner = f"; there it is process {facts.inner_pid}" if "pid" in facts.foreign else ""
    said = f"it has {others} of its own (a container, PrivateTmp){inner}"
    if "mnt" not in facts.foreign and not facts.other_root:
        yield ok(CHECK, said)
    elif facts.can_enter:
        yield ok(CHECK, f"{said}; it is reached through /proc/{facts.pid}/root")
    else:
        yield problem(
            CHECK,
            f"{said}, and you may not enter",
            f"sudo liveheap doctor {facts.pid}, or --via 'docker exec -i NAME liveheap "
            f"bridge --pid {facts.inner_pid}'",
        )


def _number(pid: int | str, kind: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return None
