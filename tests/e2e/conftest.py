"""One plain worker, and the environment of somebody who asks it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from spawn import Worker


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    """A worker whose agent answers."""
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    return worker


@pytest.fixture
def env(worker: Worker, tmp_path: Path) -> dict[str, str]:
    """An environment that sees this worker alone, and whose home is the test's."""
    return {**worker.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
