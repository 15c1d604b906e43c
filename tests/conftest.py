"""Fixtures every floor shares; what they do stands in spawn.py."""

import os
import signal
from collections.abc import Callable, Generator, Iterator

import pytest
from spawn import Stage, Worker, worker_pythons

HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: lambda *_: None}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the standard error of a failed test's workers in its report."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and stage is not None:
        report.sections.extend(stage.report())
    return report


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


def pytest_configure() -> None:
    """Let signals reach what the tests start, though a background job or nohup ignores
    them: what is ignored stays so in a child, what has a handler does not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, HANDLERS[number])
