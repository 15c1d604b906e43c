"""A worker close to the memory limit of its cgroup lives on, whatever it is asked.

The snapshot is complete, or refused, or says honestly that it was cut short.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import AS_ROOT, program


def memory_hierarchy() -> Path | None:
    """Where a memory cgroup may be made, v2 or v1; None if nowhere."""
    version_2 = Path("/sys/fs/cgroup")
    controllers = version_2 / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return version_2
    version_1 = version_2 / "memory"
    return version_1 if (version_1 / "memory.limit_in_bytes").exists() else None


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup of the test's own, removed afterwards."""
    hierarchy = memory_hierarchy()
    if not AS_ROOT or hierarchy is None or not os.access(hierarchy, os.W_OK):
        pytest.skip("needs root and a memory cgroup hierarchy that may be written")
    directory = hierarchy / f"liveheap-test-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    yield directory
    directory.rmdir()


@pytest.mark.parametrize("headroom_mb", [4, 8, 16, 32])
def test_the_worker_survives_a_forced_snapshot(cgroup: Path, headroom_mb: int) -> None:
    with program("near_limit.py", str(cgroup), str(headroom_mb), "force") as worker:
        answer = worker.answer()
        assert answer["alive"] == 400_000
        assert answer["over"] is True
        if headroom_mb >= 32:
            assert answer["complete"] is True, answer
        else:
            assert answer["complete"] or "out of memory" in answer["reason"], answer
        assert worker.end() == 0


def test_too_little_headroom_is_refused_by_the_cgroups_name(cgroup: Path) -> None:
    with program("near_limit.py", str(cgroup), "8", "ask") as worker:
        answer = worker.answer()
        assert answer["code"] == "refused"
        assert f"memory limit of cgroup /{cgroup.name}" in answer["refused"]
        assert answer["oom_kills"] == 0
        assert worker.end() == 0
