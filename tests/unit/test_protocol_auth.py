"""The handshake: who gets in, who does not, and what either of them can learn."""

import gc
import hashlib
import hmac
import struct

import pytest
from peers import (
    CNONCE,
    IDENT,
    SNONCE,
    TOKEN,
    agent_side,
    client_side,
    shake,
)

from liveheap.errors import AuthenticationError, LocalProtocolError
from liveheap.protocol.auth import (
    MAGIC,
    AgentHandshake,
    Agreed,
    ClientHandshake,
    Ident,
    Key,
    Scope,
    Status,
    scope_key,
)
from liveheap.protocol.keys import hkdf, hmac_sha256
from liveheap.tokens import TokenError

NOT_OURS = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    bytes(1 << 20),
    b"\x00",
)


def refused(side, data):
    """The error with which a side refuses bytes."""
    with pytest.raises(AuthenticationError) as caught:
        side.receive(data)
    return caught.value


def challenged():
    """A client and an agent after M1 and M2: (client, agent, M1, M2)."""
    client, agent = client_side(), agent_side()
    m1 = client.data_to_send()
    agent.receive(m1)
    return client, agent, m1, agent.data_to_send()


# --- keys


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_our_hmac_is_the_standard_librarys(length):
    key, parts = bytes(range(length)), (b"a" * 70, b"", b"bc")
    expected = hmac.new(key, b"".join(parts), hashlib.sha256).digest()
    assert hmac_sha256(key, *parts) == expected


def test_hkdf_is_rfc_5869_with_our_salt():
    extracted = hmac.new(b"liveheap/1", TOKEN, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"info\x01", hashlib.sha256).digest()
    assert hkdf(TOKEN, b"info") == expanded


def test_the_key_of_a_scope_gives_the_keys_below_it():
    held = scope_key(TOKEN, Scope.EXEC)
    for scope in (Scope.VALUES, Scope.GRAPH, Scope.READ):
        held = hkdf(held, scope.label.encode())
        assert held == scope_key(TOKEN, scope)


def test_an_expiry_makes_another_key():
    until = scope_key(TOKEN, Scope.GRAPH, 7)
    assert until == hkdf(scope_key(TOKEN, Scope.GRAPH), b"until\x07\0\0\0")
    assert until != scope_key(TOKEN, Scope.GRAPH, 8)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_token_of_another_length_is_refused(length):
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        scope_key(bytes(length), Scope.READ)


# --- the way that leads in


@pytest.mark.parametrize("scope", list(Scope))
def test_both_ends_agree_on_scope_version_ident_and_session(scope):
    client, agent = client_side(scope), agent_side(Scope.EXEC)
    shake(client, agent)
    assert client.result == agent.result
    assert client.result == Agreed(scope, 1, IDENT, b"\x01" * 8)


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_the_handshake_may_come_in_pieces_of_any_size(pieces):
    client, agent = client_side(), agent_side()
    for speaker, listener in ((client, agent), (agent, client)) * 2:
        data = speaker.data_to_send()
        for start in range(0, len(data), pieces):
            assert not listener.done
            listener.receive(data[start : start + pieces])
    assert client.done
    assert agent.done


def test_a_reader_that_asks_for_what_is_wanted_reads_no_byte_too_many():
    client, agent = client_side(), agent_side()
    for speaker, listener in ((client, agent), (agent, client)) * 2:
        data = speaker.data_to_send()
        while data and not listener.done:
            assert 0 < listener.wanted <= 544
            piece, data = data[: listener.wanted], data[listener.wanted :]
            listener.receive(piece)
        assert data == b""
    assert client.wanted == agent.wanted == 0
    assert client.trailing == agent.trailing == b""


def test_the_agent_wants_80_bytes_in_all_before_the_proof():
    agent = agent_side()
    assert agent.wanted == 48
    agent.receive(client_side().data_to_send())
    assert agent.wanted == 32


def test_bytes_after_the_last_message_are_kept_for_the_connection():
    client, agent, _, m2 = challenged()
    client.receive(m2)
    agent.receive(client.data_to_send() + b"request")
    assert agent.trailing == b"request"
    client.receive(agent.data_to_send() + b"progress")
    assert client.trailing == b"progress"


def test_nonces_and_session_ids_are_fresh_unless_given():
    hellos = {ClientHandshake(TOKEN, Scope.READ).data_to_send() for _ in range(20)}
    assert len(hellos) == 20
    agents = [AgentHandshake(lambda: TOKEN, IDENT, Scope.READ) for _ in range(2)]
    hello = hellos.pop()
    answers = []
    for agent in agents:
        agent.receive(hello)
        answers.append(agent.data_to_send())
    assert answers[0] != answers[1]


def test_a_key_handed_out_opens_its_scope_and_those_below():
    key = Key(Scope.GRAPH, scope_key(TOKEN, Scope.GRAPH))
    for scope in (Scope.READ, Scope.GRAPH):
        client = ClientHandshake(key, scope)
        shake(client, agent_side(Scope.EXEC))
        assert client.result.scope is scope


def test_a_key_handed_out_opens_no_scope_above():
    key = Key(Scope.GRAPH, scope_key(TOKEN, Scope.GRAPH))
    with pytest.raises(AuthenticationError, match="for scope graph, not values"):
        ClientHandshake(key, Scope.VALUES)


def test_an_expiring_key_opens_its_scope_until_then_without_state_in_the_agent():
    key = Key(Scope.GRAPH, scope_key(TOKEN, Scope.GRAPH, 1000), expiry=1000)
    client = ClientHandshake(key, Scope.GRAPH)
    agent = agent_side(now=lambda: 999.5)
    shake(client, agent)
    assert agent.result.expiry == client.result.expiry == 1000
    with pytest.raises(AuthenticationError):
        ClientHandshake(key, Scope.READ)


# --- the ways that do not


@pytest.mark.parametrize("opening", NOT_OURS, ids=lambda data: repr(data[:8]))
def test_first_bytes_that_are_not_the_magic_get_no_answer(opening):
    agent = agent_side()
    assert refused(agent, opening).code == "not-liveheap"
    assert agent.data_to_send() == b""


@pytest.mark.parametrize("opening", NOT_OURS, ids=lambda data: repr(data[:8]))
def test_a_client_says_what_else_it_found_and_sends_nothing_more(opening):
    client = client_side()
    client.data_to_send()
    error = refused(client, opening)
    assert error.code == "not-liveheap"
    assert repr(opening[:8]) in str(error)
    assert client.data_to_send() == b""


@pytest.mark.parametrize("position", range(len(MAGIC)))
def test_a_wrong_magic_is_noticed_at_its_first_wrong_byte(position):
    agent = agent_side()
    agent.receive(MAGIC[:position] or b"\x93")
    assert refused(agent, b"\xff").code == "not-liveheap"


def test_one_byte_of_the_magic_is_waited_for_and_then_the_end_is_told():
    agent = agent_side()
    agent.receive(MAGIC[:1])
    assert agent.wanted == 47
    assert refused(agent, b"").code == "closed"
    assert agent.data_to_send() == b""


def test_every_changed_bit_of_m2_is_noticed_before_the_client_proves_anything():
    _, _, _, m2 = challenged()
    for position in range(len(m2)):
        for bit in (0x01, 0x80):
            changed = bytearray(m2)
            changed[position] ^= bit
            client = client_side()
            client.data_to_send()
            try:
                client.receive(bytes(changed))
                client.receive(b"")
            except AuthenticationError:
                pass
            assert client.data_to_send() == b"", position
            assert not client.done


def test_every_changed_bit_of_m1_is_noticed():
    m1 = client_side().data_to_send()
    for position in range(len(m1)):
        changed = bytearray(m1)
        changed[position] ^= 0x01
        client, agent = client_side(), agent_side()
        client.data_to_send()
        try:
            agent.receive(bytes(changed))
        except AuthenticationError:
            continue
        assert refused(client, agent.data_to_send()).code == "not-genuine"


def test_every_changed_bit_of_m3_is_refused():
    client, _, m1, m2 = challenged()
    client.receive(m2)
    m3 = client.data_to_send()
    for position in range(len(m3)):
        agent = agent_side()
        agent.receive(m1)
        agent.data_to_send()
        changed = bytearray(m3)
        changed[position] ^= 0x10
        assert refused(agent, bytes(changed)).code == "not-genuine"
        assert not agent.done


def test_every_changed_bit_of_m4_is_noticed():
    client, agent, _, m2 = challenged()
    client.receive(m2)
    agent.receive(client.data_to_send())
    m4 = agent.data_to_send()
    for position in range(len(m4)):
        client = challenged()[0]
        client.receive(m2)
        changed = bytearray(m4)
        changed[position] ^= 0x01
        assert refused(client, bytes(changed)).code == "not-genuine"


def test_a_wrong_proof_is_answered_with_a_0_that_grants_nothing():
    client, agent, _, m2 = challenged()
    client.receive(m2)
    client.data_to_send()
    refused(agent, bytes(32))
    m4 = agent.data_to_send()
    assert m4[:12] == bytes(12)
    assert len(m4) == 44


def test_a_client_believes_a_refusal_of_a_genuine_agent():
    client, _, m1, m2 = challenged()
    client.receive(m2)
    m3 = client.data_to_send()
    key = scope_key(TOKEN, Scope.GRAPH)
    head = bytes(12)
    proof = hmac_sha256(key, b"liveheap/1 fin\0", m1, m2, m3, head)
    assert refused(client, head + proof).code == "refused"


def test_a_replayed_m1_and_m3_do_not_get_in():
    client, agent = client_side(), agent_side()
    recorded = [data for who, data in shake(client, agent) if who == "client"]
    victim = agent_side(nonce=b"\x5f" * 32)
    victim.receive(recorded[0])
    victim.data_to_send()
    assert refused(victim, recorded[1]).code == "not-genuine"


def test_a_replayed_agent_is_not_believed():
    recorded = [d for who, d in shake(client_side(), agent_side()) if who == "agent"]
    client = client_side(nonce=b"\xc2" * 32)
    assert refused(client, recorded[0]).code == "not-genuine"


def test_the_agents_own_proof_sent_back_does_not_get_in():
    _, agent, _, m2 = challenged()
    assert refused(agent, m2[-32:]).code == "not-genuine"


def test_a_client_that_answers_itself_is_not_genuine():
    client = client_side()
    m1 = client.data_to_send()
    head = struct.pack("<8sBBH32s", MAGIC, 1, 0, 0, CNONCE)
    proof = hmac_sha256(bytes(32), b"liveheap/1 srv\0", m1, head)
    assert refused(client, head + proof).code == "not-genuine"


def test_the_key_of_a_lower_scope_opens_no_higher_one():
    read_key = Key(Scope.READ, scope_key(TOKEN, Scope.READ))
    client = ClientHandshake(read_key, Scope.READ, nonce=CNONCE)
    hello = bytearray(client.data_to_send())
    hello[9] = Scope.GRAPH
    agent = agent_side()
    agent.receive(bytes(hello))
    assert refused(client, agent.data_to_send()).code == "not-genuine"


def test_a_wrong_token_on_either_side_is_not_genuine_and_shows_no_token():
    other = b"\xee" * 32
    client = ClientHandshake(other, Scope.GRAPH)
    agent = agent_side()
    agent.receive(client.data_to_send())
    error = refused(client, agent.data_to_send())
    assert error.code == "not-genuine"
    for secret in (other, TOKEN):
        assert secret.hex() not in repr(error) + str(error) + str(error.hint)
        assert repr(secret) not in repr(error) + str(error) + str(error.hint)


@pytest.mark.parametrize("scope", [0, 3, 4, 5, 255])
def test_a_scope_above_the_ceiling_or_unknown_is_status_2(scope):
    hello = bytearray(client_side().data_to_send())
    hello[9] = scope
    agent = agent_side(Scope.GRAPH)
    assert refused(agent, bytes(hello)).code == "scope"
    assert agent.data_to_send() == _refusal(Status.NO_SUCH_SCOPE)


def test_another_key_id_is_status_3():
    hello = bytearray(client_side().data_to_send())
    hello[10] = 1
    agent = agent_side()
    assert refused(agent, bytes(hello)).code == "key"
    assert agent.data_to_send() == _refusal(Status.NO_SUCH_KEY)


@pytest.mark.parametrize("error", [TokenError("mode 0644"), PermissionError("no")])
def test_an_agent_without_a_usable_token_says_status_3(error):
    def reader():
        raise error

    agent = AgentHandshake(reader, IDENT, Scope.GRAPH)
    assert refused(agent, client_side().data_to_send()).code == "key"
    assert agent.data_to_send() == _refusal(Status.NO_SUCH_KEY)


@pytest.mark.parametrize("length", [0, 31, 64])
def test_an_agent_whose_token_has_another_length_says_status_3(length):
    agent = AgentHandshake(lambda: bytes(length), IDENT, Scope.GRAPH)
    assert refused(agent, client_side().data_to_send()).code == "key"


def test_a_busy_agent_says_status_4_without_reading_the_token():
    agent = AgentHandshake(
        lambda: pytest.fail("read"), IDENT, Scope.GRAPH, busy=lambda: True
    )
    assert refused(agent, client_side().data_to_send()).code == "busy"
    assert agent.data_to_send() == _refusal(Status.BUSY)


def test_a_genuine_client_that_is_one_too_many_by_then_is_told_busy():
    full = iter([False, True])
    agent, client = agent_side(busy=lambda: next(full)), client_side()
    agent.receive(client.data_to_send())
    client.receive(agent.data_to_send())
    with pytest.raises(AuthenticationError) as ours:
        agent.receive(client.data_to_send())
    assert ours.value.code == "busy"
    with pytest.raises(AuthenticationError) as theirs:
        client.receive(agent.data_to_send())
    assert theirs.value.code == "busy"
    assert "before it proved" not in str(theirs.value)


@pytest.mark.parametrize("now", [1000, 1000.1, 5e9])
def test_an_expired_key_is_status_5(now):
    client = client_side(expiry=1000)
    agent = agent_side(now=lambda: now)
    assert refused(agent, client.data_to_send()).code == "expired"
    answer = agent.data_to_send()
    assert answer == _refusal(Status.EXPIRED)
    assert refused(client, answer).code == "expired"


def test_an_expiry_put_off_on_the_way_is_noticed():
    key = Key(Scope.GRAPH, scope_key(TOKEN, Scope.GRAPH, 1000), expiry=1000)
    client = ClientHandshake(key, Scope.GRAPH)
    hello = bytearray(client.data_to_send())
    hello[12:16] = struct.pack("<I", 2**32 - 1)
    agent = agent_side(now=lambda: 2000)
    agent.receive(bytes(hello))
    assert refused(client, agent.data_to_send()).code == "not-genuine"


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 77, 255])
def test_a_refusal_is_shown_as_said_without_proof(status):
    client = client_side()
    client.data_to_send()
    error = refused(client, _refusal(status))
    if status <= 5:
        assert "said before it proved who it is" in str(error)
    else:
        assert str(status) in str(error)
    assert client.data_to_send() == b""


@pytest.mark.parametrize("length", [513, 65535])
def test_an_ident_longer_than_512_bytes_is_refused_at_its_length(length):
    client = client_side()
    client.data_to_send()
    head = struct.pack("<8sBBH32s", MAGIC, 1, 0, length, SNONCE)
    assert refused(client, head).code == "malformed"


@pytest.mark.parametrize("ident", ["", "x" * 512, "gateway", "a:b:c:1:2:z"])
def test_any_ident_will_do_if_nobody_in_particular_was_looked_for(ident):
    client = client_side()
    agent = AgentHandshake(lambda: TOKEN, ident, Scope.GRAPH)
    shake(client, agent)
    assert client.result.ident == ident


@pytest.mark.parametrize(
    ("ident", "expect"),
    [
        ("web-3:4712:918273:1", {"expect_pid": 4711}),
        ("web-3:4711:918274:1", {"expect_pid": 4711, "expect_start": 918273}),
        ("web-3:4711:918274:1", {"expect_start": 918273}),
        ("web-3", {"expect_pid": 4711}),
        ("web-3:-4711:918273:1", {"expect_pid": 4711}),
        ("web-3:four:918273:1", {"expect_start": 918273}),
        ("web-3:٤٧١١:918273:1", {"expect_pid": 4711}),
        ("web-3:" + "9" * 400 + ":1:1", {"expect_pid": 4711}),
    ],
)
def test_a_genuine_agent_of_another_process_gets_no_proof(ident, expect):
    client = client_side(**expect)
    agent = AgentHandshake(lambda: TOKEN, ident, Scope.GRAPH)
    agent.receive(client.data_to_send())
    assert refused(client, agent.data_to_send()).code == "wrong-worker"
    assert client.data_to_send() == b""


def test_the_process_looked_for_is_accepted():
    client = client_side(expect_pid=4711, expect_start=918273)
    shake(client, agent_side())
    assert client.done


def test_an_ident_that_is_not_text_is_refused():
    client = client_side()
    m1 = client.data_to_send()
    body = struct.pack("<8sBBH32s", MAGIC, 1, 0, 2, SNONCE) + b"\xff\xfe"
    key = scope_key(TOKEN, Scope.GRAPH)
    proof = hmac_sha256(key, b"liveheap/1 srv\0", m1, body)
    assert refused(client, body + proof).code == "malformed"


def test_a_genuine_agent_cannot_grant_another_scope_than_the_one_asked_for():
    client, _, m1, m2 = challenged()
    client.receive(m2)
    m3 = client.data_to_send()
    head = struct.pack("<BBH8s", 1, Scope.EXEC, 0, bytes(8))
    key = scope_key(TOKEN, Scope.GRAPH)
    proof = hmac_sha256(key, b"liveheap/1 fin\0", m1, m2, m3, head)
    assert refused(client, head + proof).code == "scope"


@pytest.mark.parametrize("sent", [0, 1, 43, 44, 60, 94])
def test_an_end_in_the_middle_is_told_as_closed(sent):
    m2 = challenged()[3]
    client = client_side()
    client.data_to_send()
    if sent:
        client.receive(m2[:sent])
    assert refused(client, b"").code == "closed"


def test_nothing_can_be_received_after_the_end():
    client, agent = client_side(), agent_side()
    shake(client, agent)
    for side in (client, agent):
        with pytest.raises(LocalProtocolError):
            side.receive(b"x")
    failed = agent_side()
    refused(failed, b"GET / HTTP/1.1")
    with pytest.raises(LocalProtocolError):
        failed.receive(b"x")


def test_there_is_no_result_before_the_handshake_is_done():
    with pytest.raises(LocalProtocolError):
        _ = client_side().result


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_nonce_of_another_length_is_our_own_fault(length):
    with pytest.raises(LocalProtocolError):
        client_side(nonce=bytes(length))


def test_an_ident_that_does_not_fit_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        AgentHandshake(lambda: TOKEN, "x" * 513, Scope.READ)


# --- secrets


def test_no_side_shows_its_key_or_keeps_it_after_the_end():
    client, agent = client_side(), agent_side()
    agent.receive(client.data_to_send())
    key = scope_key(TOKEN, Scope.GRAPH)
    for side in (client, agent):
        assert key.hex() not in repr(side)
        assert repr(key) not in repr(side)
    client.receive(agent.data_to_send())
    agent.receive(client.data_to_send())
    client.receive(agent.data_to_send())
    for side in (client, agent):
        assert key not in _reachable_bytes(side)
    assert repr(client) == "<ClientHandshake waits for nothing>"


def test_no_side_ever_holds_the_token():
    token = bytes(bytearray(b"T" * 32))
    client = ClientHandshake(token, Scope.GRAPH)
    agent = AgentHandshake(lambda: bytes(bytearray(b"T" * 32)), IDENT, Scope.GRAPH)
    agent.receive(client.data_to_send())
    assert token not in _reachable_bytes(client)
    assert token not in _reachable_bytes(agent)


def test_a_key_that_was_handed_out_does_not_show_itself():
    assert "secret" not in repr(Key(Scope.READ, b"x" * 32))


def _reachable_bytes(start):
    """Every bytes object that a handshake's slots lead to."""
    found, waiting, seen = [], [start], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if isinstance(item, (bytes, bytearray)):
            found.append(bytes(item))
        elif isinstance(item, (ClientHandshake, AgentHandshake, tuple, list, dict)):
            waiting.extend(gc.get_referents(item))
    return found


def _refusal(status, version=1):
    return struct.pack("<8sBBH32s", MAGIC, version, status, 0, bytes(32))


# --- idents


def test_an_ident_is_read_from_its_end_so_a_host_may_have_colons():
    ident = Ident.parse("fe80::1:4711:918273:2")
    assert ident == Ident("fe80::1", 4711, 918273, "2")
    assert str(ident) == "fe80::1:4711:918273:2"


def test_an_agent_takes_an_ident_as_object_or_text():
    ident = Ident("web-3", 4711, 918273, "1")
    client, agent = client_side(), AgentHandshake(lambda: TOKEN, ident, Scope.GRAPH)
    shake(client, agent)
    assert client.result.ident == IDENT
