"""What a scope allows: decided in one place, listed by `status`, told by `--help`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from command_line import liveheap
from contract.minimal_client import MinimalClient, connect
from spawn import Worker, eventually

from liveheap.agent.gate import ALLOWED
from liveheap.commands import COMMANDS
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap_client.cli import verbs

ABOVE = [
    pytest.param(command, scope, id=f"{command.name}-{scope.label}")
    for command in COMMANDS
    for scope in Scope
    if scope < command.scope
]
OF_ARGUMENTS = [
    pytest.param(command, param, id=f"{command.name}-{param.name}")
    for command in COMMANDS
    for param in command.params
    if param.scope > command.scope
]


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    return spawn_worker("plain", env={"LIVEHEAP_ALLOW": "exec"})


def refusal(client: MinimalClient, command: str, **args: object) -> CommandError:
    with pytest.raises(CommandError) as refused:
        client.request(command, **args)
    return refused.value


def test_each_scope_has_the_commands_below_it_and_no_other():
    for scope in Scope:
        for command in COMMANDS:
            assert (command.name in ALLOWED[scope]) == (command.scope <= scope)


def test_no_command_of_a_higher_scope_runs_whatever_its_arguments(worker):
    socket = worker.wait_for_socket()
    sessions = {scope: connect(socket, scope=scope) for scope in Scope}
    for command, scope in (each.values for each in ABOVE):
        error = refusal(sessions[scope], command.name, **{"nonsense": "x" * 2000})
        assert error.code == "scope", (command.name, scope)
        assert f"{command.name} needs scope {command.scope.label}" in str(error)
        assert "nonsense" not in str(error)
    for command, param in (each.values for each in OF_ARGUMENTS):
        value = True if param.type is bool else param.type(1)
        error = refusal(sessions[command.scope], command.name, **{param.name: value})
        assert error.code == "scope", (command.name, param.name)
    for session in sessions.values():
        assert session.request("status").as_dict()["pid"] == worker.pid
        session.close()


def test_who_may_little_is_not_told_what_others_may(worker):
    with connect(worker.wait_for_socket(), scope=Scope.READ) as client:
        error = refusal(client, "reboot")
    assert error.code == "unknown-command"
    told = {name.strip() for name in (error.hint or "").partition(":")[2].split(",")}
    assert told == set(ALLOWED[Scope.READ])


def test_a_request_for_more_stands_in_the_log(worker):
    with connect(worker.wait_for_socket(), scope=Scope.READ) as client:
        refusal(client, "snapshot")
    log = worker.run_dir / "audit.log"
    eventually(lambda: '"end"' in log.read_text(), what="the session has ended")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["result"] for line in lines if line["what"] == "snapshot"] == ["scope"]


def test_status_lists_the_scopes_and_how_to_open_those_that_are_off(
    spawn_worker: Callable[..., Worker],
):
    worker = spawn_worker("plain")
    worker.wait_for_socket()

    facts = json.loads(liveheap("status", "--json", env=worker.environ).stdout)
    shown = liveheap("status", env=worker.environ).stdout
    refused = liveheap("console", "-c", "1", env=worker.environ, expect=4)

    assert (facts["scope"], facts["scope_ceiling"]) == ("graph", "graph")
    by_name = {each["scope"]: each for each in facts["scopes"]}
    assert [name for name, each in by_name.items() if each["open"]] == ["read", "graph"]
    assert "snapshot" in by_name["graph"]["commands"]
    assert "snapshot --values" in by_name["values"]["commands"]
    assert "console" in by_name["exec"]["commands"]
    assert "off; its owner: LIVEHEAP_ALLOW=exec" in shown
    assert "LIVEHEAP_ALLOW=exec in its environment" in refused.stderr
    assert "run any code in it" in refused.stderr


def test_the_help_of_each_verb_that_asks_names_its_scope():
    by_name = {verb.name: verb for verb in verbs()}
    for command in COMMANDS:
        if command.name in by_name:
            assert by_name[command.name].scope == command.scope
            told = by_name[command.name].whole_help
            assert f"Scope: {command.scope.label}" in told
            if command.scope > Scope.GRAPH:
                assert f"LIVEHEAP_ALLOW={command.scope.label}" in told
    assert "Scope: graph." in liveheap("leaks", "--help", env={}).stdout
