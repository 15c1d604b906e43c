"""A worker close to its memory limit lives on, whatever it is asked.

The snapshot is complete, or refused, or says honestly that it was cut short. The limit
is RLIMIT_AS, which every machine has, and a memory cgroup, v1 or v2, where one may be
made: that one kills.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import AS_ROOT, program

LIMITED_OBJECTS = 400_000


def memory_hierarchy() -> Path | None:
    """Where a memory cgroup may be made; None if nowhere."""
    version_2 = Path("/sys/fs/cgroup")
    controllers = version_2 / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return version_2 if os.access(version_2, os.W_OK) else None
    version_1 = version_2 / "memory"
    limit = version_1 / "memory.limit_in_bytes"
    return version_1 if limit.exists() and os.access(version_1, os.W_OK) else None


HIERARCHY = memory_hierarchy() if AS_ROOT else None
WALLS = ["rlimit", "cgroup"] if HIERARCHY else ["rlimit"]


@pytest.fixture(params=WALLS)
def wall(request: pytest.FixtureRequest) -> Iterator[str]:
    """What near_limit.py is to put around itself: a cgroup's directory, or "rlimit"."""
    if request.param == "rlimit" or HIERARCHY is None:
        yield "rlimit"
        return
    directory = HIERARCHY / f"liveheap-test-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    yield str(directory)
    directory.rmdir()


@pytest.mark.parametrize("headroom_mb", [4, 8, 16, 32])
def test_the_worker_survives_a_forced_snapshot(wall: str, headroom_mb: int) -> None:
    with program("near_limit.py", wall, str(headroom_mb), "force") as worker:
        answer = worker.answer()
        assert answer["alive"] == LIMITED_OBJECTS
        assert answer["over"] is True
        if headroom_mb >= 32:
            assert answer["complete"] is True, answer
        else:
            assert answer["complete"] or "out of memory" in answer["reason"], answer
        assert worker.end() == 0


def test_too_little_headroom_is_refused_by_the_limits_name(wall: str) -> None:
    with program("near_limit.py", wall, "8", "ask") as worker:
        answer = worker.answer()
        assert answer["code"] == "refused"
        name = "RLIMIT_AS" if wall == "rlimit" else f"cgroup /{Path(wall).name}"
        assert name in answer["refused"]
        assert answer["oom_kills"] == 0
        assert worker.end() == 0
