"""Nothing of the worker's values leaves at the scopes read and graph.

A worker has the word SECRET9 planted wherever a value can stand; whatever then leaves
it, on the wire (unpacked) or in its files, must not hold the word. What a person sees
of it is tests/e2e/test_cli_secrets.py.

What does leave by design are attribute names, also those that a program makes up at
run time: `setattr(object, text, ...)` turns data into a name, and so does writing to
`vars(object)`. The last test here says so.
"""

from __future__ import annotations

import pytest
from agent_host import start_host
from eavesdropping import below, spellings
from listening import Listening, around
from spawn import Stage, Worker, eventually

from liveheap.commands import COMMANDS
from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol.auth import Scope

WORD = b"SECRET9"
LEAVING = ("stop",)


@pytest.fixture
def worker(stage: Stage) -> Worker:
    word = WORD.decode()
    return stage.spawn(
        "secrets_host",
        f"--password={word}-1",
        word,
        "worker",
        env={"DATABASE_URL": f"postgres://{word}@db"},
    )


def test_no_value_leaves_on_the_wire_or_in_the_worker_s_files(worker):
    names, written = {}, {}
    with Listening(worker.wait_for_socket()) as client:
        for bad in (
            ("snapshot", {"timeout_s": -1}),
            ("snapshot", {"values": True}),
            ("histogram", {"top": "many"}),
            ("nonsense", {}),
        ):
            with pytest.raises(CommandError):
                client.request(bad[0], **bad[1])
        for command in sorted(COMMANDS, key=lambda each: each.name in LEAVING):
            if command.name in LEAVING:
                written = below(worker.run_dir)
            before = len(client.heard)
            args = {"force": True} if command.name == "snapshot" else {}
            list(client.answers(client.ask(command.name, **args)))
            names[command.name] = bytes(client.heard[before:])
        heard = bytes(client.heard)
    assert b"password" in names["snapshot"]
    assert b"wait_in_greenlet" in names["snapshot"]
    assert len(names["snapshot"]) > 1 << 20
    assert around(WORD, heard) == []
    eventually(lambda: not worker.sockets(), what="it has left")
    written |= below(worker.run_dir)
    assert {"audit.log", "token"} <= set(written)
    assert [name for name, data in written.items() if WORD in data] == []
    assert WORD.decode() not in worker.stderr


def test_an_attribute_made_of_data_is_a_name_by_design(stage):
    host = start_host(stage, "plain")
    host.do(
        """
class Bag: pass
BAG = Bag()
setattr(BAG, "".join(map(chr, (83, 69, 67, 82, 69, 84))) + "name", 1)
"""
    )
    with Listening(host.worker.wait_for_socket()) as client:
        list(client.answers(client.ask("snapshot", force=True)))
        assert b"SECRETname" in client.heard


def test_what_a_name_forbids_and_the_token_leave_at_no_scope_but_exec(stage):
    worker = stage.spawn("secrets_host", env={"LIVEHEAP_ALLOW": "values"})
    token = (worker.run_dir / "token").read_bytes()
    with Listening(worker.wait_for_socket(), Scope.VALUES) as client:
        asked = {"force": True, "values": True, "texts": True}
        list(client.answers(client.ask("snapshot", **asked)))
        heard = bytes(client.heard)
    assert b"local-of-a-thread" in heard  # of scope values, and not of scope graph
    assert around(b"GUARDED9_", heard) == []
    for spelling in spellings(token):
        assert spelling not in heard


def test_without_the_worker_s_leave_no_session_of_scope_values_begins(stage):
    worker = stage.spawn("plain")
    with pytest.raises(AuthenticationError) as refused:
        Listening(worker.wait_for_socket(), Scope.VALUES)
    assert refused.value.code == "scope"
