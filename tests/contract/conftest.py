"""Fixtures of the contract tests: an agent over a fake heap, and a session with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.agent_under_test import make_agent, session_of
from contract.fake_heap import FakeHeap
from contract.minimal_client import MinimalClient

from liveheap.agent.service import Agent


@pytest.fixture
def heap() -> FakeHeap:
    return FakeHeap()


@pytest.fixture
def agent(tmp_path: Path, heap: FakeHeap) -> Agent:
    return make_agent(tmp_path, heap)


@pytest.fixture
def client(agent: Agent) -> Iterator[MinimalClient]:
    with session_of(agent) as client:
        yield client
