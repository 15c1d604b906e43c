"""The conversation: two ends joined in memory, and every step the tables forbid."""

import pytest
from peers import CONVERSATION, agent_side, client_side, connected, converse, shake

from liveheap.errors import LocalProtocolError, MessageTooLarge, RemoteProtocolError
from liveheap.protocol import frames, messages
from liveheap.protocol.auth import Agreed, Scope
from liveheap.protocol.connection import (
    CLOSED,
    MAX_IN_FLIGHT,
    NEED_DATA,
    NEXT,
    Connection,
    RequestState,
    Role,
    State,
)
from liveheap.protocol.messages import (
    KINDS,
    Cancel,
    Chunk,
    Failure,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Column, Record, Table, Tree, TreeNode

ONE_OF_EACH = {
    Request: Request(1, "status"),
    Cancel: Cancel(1),
    Progress: Progress(1, "walk"),
    Chunk: Chunk(1, 0, 3, 0, b"abc"),
    Result: Result(1, Record(())),
    Failure: Failure(1, "busy", "another runs"),
}


def forged(message):
    """A message as a frame, whatever the sender's state would say."""
    return frames.encode(messages.write(message), frames.AGENT)


def hear(end, data):
    """Everything an end makes of some bytes, until it needs more."""
    end.receive_data(data)
    events = []
    while (event := end.next_event()) is not NEED_DATA:
        events.append(event)
    return events


def in_state(state):
    """Both ends with request 1 in a state."""
    client, agent = connected()
    if state is not RequestState.IDLE:
        hear(agent, client.send(Request(1, "status")))
    if state is RequestState.CANCELLED:
        hear(agent, client.send(Cancel(1)))
    return client, agent


def test_a_whole_conversation_passes_in_both_directions():
    client, agent = connected()
    assert len(converse(client, agent)) == len(CONVERSATION)
    assert client.in_flight == agent.in_flight == ()


@pytest.mark.parametrize("size", [1, 3, 64])
def test_messages_come_out_whole_whatever_the_pieces(size):
    client, agent = connected()
    data = b"".join(client.send(Request(number, "status")) for number in range(5))
    events = []
    for start in range(0, len(data), size):
        events += hear(agent, data[start : start + size])
    assert events == [Request(number, "status") for number in range(5)]


def test_bytes_that_came_with_the_handshake_are_the_first_frame():
    client, agent = client_side(), agent_side()
    agent.receive(client.data_to_send())
    client.receive(agent.data_to_send())
    early = frames.encode(messages.write(Request(1, "status")), frames.CLIENT_FIRST)
    agent.receive(client.data_to_send() + early)
    end = Connection(Role.AGENT, handshake=agent)
    assert end.next_event() == Request(1, "status")


def test_a_connection_may_begin_with_what_the_bridge_agreed():
    agreed = Agreed(Scope.READ, 1, "web-3:1:2:3", bytes(8))
    end = Connection(Role.CLIENT, agreed=agreed)
    assert end.agreed is agreed
    assert end.send(Request(1, "status"))


def test_there_is_no_connection_before_the_handshake():
    with pytest.raises(LocalProtocolError):
        Connection(Role.AGENT, handshake=agent_side())
    with pytest.raises(LocalProtocolError):
        Connection(Role.AGENT)
    done = client_side()
    shake(done, agent_side())
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT, handshake=done, agreed=done.result)


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("kind", list(ONE_OF_EACH))
def test_an_end_sends_what_the_tables_allow_and_nothing_else(state, kind):
    ends = dict(zip(Role, in_state(state), strict=True))
    message = ONE_OF_EACH[kind]
    sender = KINDS[kind].sender
    if kind in NEXT[state]:
        assert ends[sender].send(message)
    else:
        with pytest.raises(LocalProtocolError):
            ends[sender].send(message)
    with pytest.raises(LocalProtocolError, match="never sends"):
        ends[sender.peer].send(message)


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("kind", list(ONE_OF_EACH))
def test_an_end_hears_what_the_tables_allow_and_nothing_else(state, kind):
    message = ONE_OF_EACH[kind]
    listener = dict(zip(Role, in_state(state), strict=True))[KINDS[kind].sender.peer]
    if kind in NEXT[state]:
        hear(listener, forged(message))
    else:
        with pytest.raises(RemoteProtocolError):
            hear(listener, forged(message))
        assert listener.state is State.FAILED
    wrong_side = dict(zip(Role, in_state(state), strict=True))[KINDS[kind].sender]
    with pytest.raises(RemoteProtocolError, match="never sends"):
        hear(wrong_side, forged(message))


def test_an_id_is_free_again_after_its_answer():
    client, agent = connected()
    for _ in range(3):
        hear(agent, client.send(Request(1, "status")))
        hear(client, agent.send(Result(1, Record(()))))
    with pytest.raises(LocalProtocolError):
        agent.send(Result(1, Record(())))


def test_a_cancel_that_crosses_the_answer_is_dropped_by_the_agent():
    client, agent = connected()
    hear(agent, client.send(Request(1, "status")))
    answer = agent.send(Result(1, Record(())))
    cancel = client.send(Cancel(1))
    assert hear(agent, cancel) == []
    assert hear(client, answer) == [Result(1, Record(()))]


def test_a_second_cancel_changes_nothing():
    client, agent = in_state(RequestState.CANCELLED)
    assert hear(agent, client.send(Cancel(1))) == [Cancel(1)]
    assert hear(client, agent.send(Failure(1, "cancelled", "")))


def test_requests_in_flight_are_limited_on_both_sides():
    client, agent = connected()
    for number in range(MAX_IN_FLIGHT):
        hear(agent, client.send(Request(number, "status")))
    assert client.in_flight == tuple(range(MAX_IN_FLIGHT))
    one_more = Request(MAX_IN_FLIGHT, "status")
    with pytest.raises(LocalProtocolError, match="in flight"):
        client.send(one_more)
    with pytest.raises(RemoteProtocolError, match="in flight"):
        hear(agent, forged(one_more))


def test_the_first_request_is_small_and_the_next_may_be_large():
    client, agent = connected()
    large = Request(1, "status", {"a": ["x" * 1000] * 900})
    with pytest.raises(MessageTooLarge):
        client.send(large)
    small = client.send(Request(0, "status", {"a": "x" * 4000}))
    assert hear(agent, small)
    assert hear(agent, client.send(large)) == [large]


def test_a_large_first_frame_is_refused_at_its_length():
    _, agent = connected()
    agent.receive_data((4097).to_bytes(4, "little"))
    with pytest.raises(RemoteProtocolError, match="1 to 4096"):
        agent.next_event()


def test_a_cancel_does_not_lift_the_limit_of_the_first_request():
    client, agent = connected()
    hear(agent, client.send(Cancel(9)))
    agent.receive_data((4097).to_bytes(4, "little"))
    with pytest.raises(RemoteProtocolError, match="1 to 4096"):
        agent.next_event()


def test_what_could_not_be_sent_leaves_no_trace_so_a_failure_can_follow():
    client, agent = connected()
    hear(agent, client.send(Request(1, "histogram")))
    table = Table((Column("a", "count"),), tuple((0,) for _ in range(500_001)))
    with pytest.raises(MessageTooLarge):
        agent.send(Result(1, table))
    failure = Failure(1, "too-large", "500,001 rows")
    assert hear(client, agent.send(failure)) == [failure]


def test_a_tree_as_deep_as_the_limit_passes_and_a_deeper_one_is_told():
    def tree(levels):
        node = TreeNode("leaf")
        for _ in range(levels - 1):
            node = TreeNode("node", (), (node,))
        return Result(1, Tree(node))

    client, agent = in_state(RequestState.RUNNING)
    assert hear(client, agent.send(tree(31))) == [tree(31)]
    hear(agent, client.send(Request(1, "backrefs")))
    with pytest.raises(MessageTooLarge):
        agent.send(tree(33))


def test_a_chunk_of_4_mib_fits():
    client, agent = in_state(RequestState.RUNNING)
    chunk = Chunk(1, 2**40, 4 * 1024 * 1024, 0, bytes(4 * 1024 * 1024))
    assert hear(client, agent.send(chunk)) == [chunk]


def test_the_end_between_frames_is_closed_and_stays_so():
    client, agent = connected()
    agent.receive_data(client.send(Request(1, "status")))
    agent.receive_data(b"")
    assert agent.next_event() == Request(1, "status")
    assert agent.next_event() is CLOSED
    assert agent.next_event() is CLOSED
    assert agent.in_flight == (1,)
    with pytest.raises(LocalProtocolError, match="closed"):
        agent.send(Result(1, Record(())))
    with pytest.raises(LocalProtocolError):
        agent.receive_data(b"more")


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 20])
def test_the_end_in_the_middle_of_a_frame_is_the_peers_fault(cut):
    client, agent = connected()
    agent.receive_data(client.send(Request(1, "status"))[:cut])
    assert agent.next_event() is NEED_DATA
    agent.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="middle of a frame"):
        agent.next_event()


def test_a_failed_connection_says_the_same_again_and_buffers_nothing():
    client, agent = connected()
    agent.receive_data(b"\xff" * 100)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="expected 1 to 4096"):
            agent.next_event()
    agent.receive_data(client.send(Request(1, "status")) * 1000)
    with pytest.raises(RemoteProtocolError):
        agent.next_event()
    assert len(agent._buffer) == 0
    with pytest.raises(LocalProtocolError, match="failed"):
        agent.send(Failure(1, "internal", ""))


def test_messages_before_the_fault_are_still_delivered():
    client, agent = connected()
    agent.receive_data(client.send(Request(1, "status")) + b"\0\0\0\0")
    assert agent.next_event() == Request(1, "status")
    with pytest.raises(RemoteProtocolError):
        agent.next_event()


@pytest.mark.parametrize("command", ["../../etc/passwd", "a\0b", "\x1b[31m", "x" * 64])
def test_a_strange_command_name_is_delivered_for_the_agent_to_refuse(command):
    client, agent = connected()
    assert hear(agent, client.send(Request(1, command))) == [Request(1, command)]


def test_a_command_name_of_64_kib_ends_the_session():
    client, agent = connected()
    hear(agent, client.send(Request(1, "status")))
    wire = {"kind": "request", "id": 2, "command": "x" * 65536, "args": {}}
    with pytest.raises(RemoteProtocolError):
        hear(agent, frames.encode(wire, frames.CLIENT))


@pytest.mark.parametrize("thing", [None, "status", {"kind": "request", "id": 1}])
def test_what_is_no_message_is_not_sent(thing):
    with pytest.raises(LocalProtocolError, match="not a message"):
        connected()[0].send(thing)


def test_every_state_and_every_kind_is_in_the_tables():
    assert set(NEXT) == set(RequestState)
    for row in NEXT.values():
        assert set(row) <= set(KINDS)
        assert Cancel in row
    reached = {state for row in NEXT.values() for state in row.values()}
    assert reached == set(RequestState)


def test_a_connection_shows_its_role_and_state_and_no_data():
    client, _ = connected()
    client.send(Request(1, "status"))
    assert repr(client) == "<Connection as client, open, 1 in flight>"
