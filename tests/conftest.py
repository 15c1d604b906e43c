"""Fixtures every floor shares; what they do stands in spawn.py."""

import os
from collections.abc import Callable, Iterator

import pytest
from spawn import Stage, Worker, worker_pythons


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Show the standard error of a failed test's workers in its report."""
    report = (yield).get_result()
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and stage is not None:
        report.sections.extend(stage.report())


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A Stage whose workers are ended and reaped when the test is over."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def spawn_worker(stage: Stage) -> Callable[..., Worker]:
    """The function `spawn_worker(program, *args, env=, python=, agent=) -> Worker`."""
    return stage.spawn


@pytest.fixture(params=worker_pythons(), ids=os.path.basename)
def worker_python(request: pytest.FixtureRequest) -> str:
    """Each interpreter that has liveheap installed, one after the other."""
    return str(request.param)
