"""`detach`: an agent leaves when it was brought, and otherwise only when forced."""

from __future__ import annotations

import pytest
from contract.agent_under_test import session_of
from contract.minimal_client import MinimalClient
from spawn import eventually

from liveheap.agent.service import Agent
from liveheap.errors import CommandError


def test_an_agent_that_the_program_started_stays(client: MinimalClient, agent: Agent):
    with pytest.raises(CommandError) as refused:
        client.request("detach")
    assert refused.value.code == "refused"
    assert "--force" in (refused.value.hint or "")
    assert client.request("status").as_dict()["pid"]
    assert not agent._closing


@pytest.mark.parametrize(("injected", "args"), [(True, {}), (False, {"force": True})])
def test_an_agent_answers_and_leaves(agent: Agent, injected: bool, args: dict):
    agent.injected = injected
    with session_of(agent) as client:
        answer = client.request("detach", **args).as_dict()
    assert answer == {"left": True, "injected": injected}
    eventually(lambda: agent._closing, what="the agent closes")
