"""A newer end meets an older one: they agree on the lower protocol, or say so."""

from itertools import groupby

import pytest
from peers import CONVERSATION, agent_side, client_side, read_recording, shake

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import MIN_VERSION, VERSION
from liveheap.protocol.connection import NEED_DATA, Connection, Role
from liveheap.protocol.messages import Cancel, Request

FROM_CLIENT = [m for m in CONVERSATION if isinstance(m, (Request, Cancel))]


def test_a_newer_agent_speaks_the_protocol_of_a_recorded_older_client():
    recording = read_recording("peer-v1-session.hex")
    agent = agent_side(max_version=2)
    said = [data for who, data in recording if who == "client"]
    heard = [data for who, data in recording if who == "agent"]
    for position in (0, 1):
        agent.receive(said[position])
        assert agent.data_to_send() == heard[position]
    assert agent.result.version == 1
    end = Connection(Role.AGENT, handshake=agent)
    heard = []
    for (who, data), message in zip(recording[4:], CONVERSATION, strict=True):
        if who == "client":
            end.receive_data(data)
            heard.append(end.next_event())
        else:
            end.send(message)
    assert heard == FROM_CLIENT


def test_a_newer_client_speaks_the_protocol_of_a_recorded_older_agent():
    recording = read_recording("peer-v1-agent-newer-client.hex")
    client = client_side(max_version=2)
    for (_, data), answer in zip(recording[0:4:2], recording[1:4:2], strict=True):
        assert client.data_to_send() == data
        client.receive(answer[1])
    assert client.result.version == 1
    end = Connection(Role.CLIENT, handshake=client)
    for (who, data), message in zip(recording[4:], CONVERSATION, strict=True):
        if who == "client":
            assert end.send(message) == data
        else:
            end.receive_data(data)
            assert end.next_event() == message
    assert end.next_event() is NEED_DATA
    assert end.in_flight == ()


def test_todays_agent_answers_a_recorded_client_with_the_recorded_bytes():
    recording = read_recording("peer-v1-session.hex")
    agent = agent_side()
    for who, group in groupby(recording[:4], key=lambda line: line[0]):
        for _, data in group:
            if who == "client":
                agent.receive(data)
            else:
                assert agent.data_to_send() == data
    end = Connection(Role.AGENT, handshake=agent)
    for (who, data), message in zip(recording[4:], CONVERSATION, strict=True):
        if who == "agent":
            assert end.send(message) == data
        else:
            end.receive_data(data)
            assert end.next_event() == message


def test_an_agent_that_left_version_1_behind_tells_an_older_client_what_it_needs():
    recording = read_recording("peer-v1-session.hex")
    agent = agent_side(max_version=3, min_version=2)
    with pytest.raises(AuthenticationError) as told:
        agent.receive(recording[0][1])
    assert told.value.code == "version"
    older = client_side()
    older.data_to_send()
    with pytest.raises(AuthenticationError) as seen:
        older.receive(agent.data_to_send())
    assert seen.value.code == "version"
    assert "speaks protocol 2 or newer, this client at most 1" in str(seen.value)
    assert seen.value.hint == "use a newer liveheap on this side"


def test_a_client_that_left_version_1_behind_says_so_and_proves_nothing():
    recording = read_recording("peer-v1-agent-newer-client.hex")
    client = client_side(max_version=2, min_version=2)
    assert client.data_to_send() == recording[0][1]
    with pytest.raises(AuthenticationError) as seen:
        client.receive(recording[1][1])
    assert seen.value.code == "version"
    assert str(seen.value) == "the agent speaks protocol 1, this client 2 to 2"
    assert seen.value.hint == "use a newer liveheap in the worker"
    assert client.data_to_send() == b""


@pytest.mark.parametrize(
    ("client_speaks", "agent_speaks", "both_speak"),
    [
        ((1, 1), (1, 3), 1),
        ((1, 3), (1, 2), 2),
        ((2, 3), (1, 2), 2),
        ((1, 255), (3, 4), 4),
    ],
)
def test_two_ends_agree_on_the_highest_version_both_speak(
    client_speaks, agent_speaks, both_speak
):
    client = client_side(min_version=client_speaks[0], max_version=client_speaks[1])
    agent = agent_side(min_version=agent_speaks[0], max_version=agent_speaks[1])
    shake(client, agent)
    assert client.result.version == agent.result.version == both_speak


def test_a_client_refuses_a_genuine_agent_that_chose_a_version_never_offered():
    client, agent = client_side(max_version=2), agent_side(max_version=1)
    hello = bytearray(client.data_to_send())
    agent.receive(bytes(hello))
    challenge = bytearray(agent.data_to_send())
    challenge[8] = 3
    with pytest.raises(AuthenticationError, match="not genuine"):
        client.receive(bytes(challenge))


def test_a_version_of_0_is_answered_with_the_lowest_that_is_spoken():
    agent = agent_side()
    hello = bytearray(client_side().data_to_send())
    hello[8] = 0
    with pytest.raises(AuthenticationError):
        agent.receive(bytes(hello))
    assert agent.data_to_send()[8:10] == bytes((MIN_VERSION, 1))


def test_the_versions_of_this_build_are_in_order():
    assert 1 <= MIN_VERSION <= VERSION <= 255
