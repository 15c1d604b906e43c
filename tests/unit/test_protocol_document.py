"""PROTOCOL.md is held to the code: vector, tables, limits, codes, example."""

import re
from pathlib import Path

import pytest
from peers import IDENT, SESSION_ID, TOKEN

import liveheap.protocol
from liveheap.protocol import exchange, frames, messages
from liveheap.protocol.auth import (
    AgentHandshake,
    ClientHandshake,
    Scope,
    Status,
    scope_key,
)
from liveheap.protocol.connection import MAX_IN_FLIGHT
from liveheap.protocol.messages import KINDS, MAX_RAW_RANGE, Failure, Request, Result
from liveheap.protocol.results import FAILURE_CODES, SHAPES, UNITS, Record

PAGE = (Path(liveheap.protocol.__file__).parent / "PROTOCOL.md").read_text()
VECTOR = PAGE.partition("### Test vector")[2].partition("### Limits")[0]
EXAMPLE = PAGE.partition("## 5. Worked example")[2]


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(title)[2], flags=re.M)[0]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without heading lines."""
    lines = re.findall(r"^\|(.*)\|$", text, re.M)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= {"-"}]


def vectors() -> list[tuple[int, dict[str, bytes]]]:
    """Each test vector: its expiry and its named values."""
    found = []
    for expiry, block in re.findall(r"Expiry (\d+):\n\n```\n(.*?)```", VECTOR, re.S):
        values = {
            name: bytes.fromhex(said)
            for name, said in re.findall(r"^(\w+) +((?:[0-9a-f]+\s+)+)", block, re.M)
        }
        found.append((int(expiry), values))
    return found


def test_the_page_has_a_vector_with_and_one_without_expiry():
    assert [expiry for expiry, _ in vectors()] == [0, 2_000_000_000]
    for _, values in vectors():
        assert [*values] == ["K_read", "K_graph", "K_values", "K_exec"] + [
            f"M{number}" for number in range(1, 5)
        ]


@pytest.mark.parametrize(("expiry", "values"), vectors())
def test_the_test_vector_is_what_the_code_says(expiry, values):
    for scope in Scope:
        assert scope_key(TOKEN, scope, expiry) == values[f"K_{scope.label}"]
    client = ClientHandshake(TOKEN, Scope.GRAPH, expiry=expiry, nonce=b"\xc1" * 32)
    agent = AgentHandshake(
        lambda: TOKEN,
        IDENT,
        Scope.GRAPH,
        nonce=b"\x5e" * 32,
        session_id=SESSION_ID,
        now=lambda: 1.9e9,
    )
    for number, (speaker, listener) in enumerate(
        ((client, agent), (agent, client)) * 2
    ):
        said = speaker.data_to_send()
        assert said == values[f"M{number + 1}"]
        listener.receive(said)
    assert client.done
    assert agent.done


def test_the_magic_the_scopes_and_the_statuses_are_the_codes():
    assert f"`{exchange.MAGIC.hex(' ').upper()}`" in PAGE
    said = ", ".join(f"{scope.value} {scope.label}" for scope in Scope)
    assert f"Scopes: {said};" in PAGE
    table = [row for row in rows(section("## 1. Handshake")) if len(row) == 2]
    statuses = [int(row[0]) for row in table[1:]]
    assert statuses == [status.value for status in Status]
    assert f"at most {exchange.MAX_IDENT} " in PAGE


def test_the_layout_on_the_page_is_the_layout_of_the_structs():
    handshake = section("## 1. Handshake")
    places = re.findall(r"\b(\d+)\.\.(\d+) \|", handshake)
    ends = {int(end) + 1 for _, end in places}
    assert exchange.M1.size in ends
    assert exchange.M2_HEAD.size in ends
    assert exchange.M4_HEAD.size in ends
    assert exchange.PROOF_BYTES in ends
    assert exchange.M4_HEAD.size + exchange.PROOF_BYTES in ends


def test_the_labels_on_the_page_are_the_codes():
    for label in ("srv", "cli", "fin"):
        assert f"`liveheap/1 {label}\\0`" in PAGE


def test_the_limits_before_the_proof_are_the_codes():
    limits = dict(rows(section("### Limits before the proof"))[1:])
    assert limits == {
        "whole handshake": f"{exchange.HANDSHAKE_DEADLINE_S:.0f} s",
        "bytes read from the client": str(exchange.M1.size + exchange.PROOF_BYTES),
        "delay after a wrong M3": f"{exchange.FAILURE_DELAY_S * 1000:.0f} ms",
        "unauthenticated connections at once": str(exchange.MAX_UNAUTHENTICATED),
    }


def test_the_limits_of_frames_are_the_codes():
    table = rows(section("## 2. Frames"))[1:]
    columns = (frames.CLIENT_FIRST, frames.CLIENT, frames.AGENT)
    for row, name in zip(table, ("frame", "depth", "items", "text"), strict=True):
        assert row[1:] == [str(getattr(limits, name)) for limits in columns]
    assert f"At most {MAX_IN_FLIGHT} requests" in PAGE
    assert f"at most {MAX_RAW_RANGE // 2**20} MiB" in PAGE


def test_every_kind_its_sender_and_its_fields_are_on_the_page_and_no_others():
    table = [
        row for row in rows(section("## 3. Messages")) if row[1] in ("client", "agent")
    ]
    on_page = {
        row[0].strip("`"): (row[1], re.findall(r"`(\w+)`", row[2])) for row in table
    }
    in_code = {
        kind.word: (kind.sender.value, [rule.name for rule in kind.fields])
        for kind in KINDS.values()
    }
    in_code["result"][1].append("shape")
    assert on_page == in_code


def test_every_shape_and_unit_is_on_the_page_and_no_others():
    table = [row[0] for row in rows(section("## 3. Messages")) if len(row) == 2]
    assert [cell.strip("`") for cell in table[1:]] == [*SHAPES]
    units = re.search(r"Units: (.*?)\. A unit", PAGE, re.S)
    assert units is not None
    assert tuple(re.findall(r"`(\w+)`", units[1])) == UNITS


def test_every_failure_code_is_on_the_page_and_no_others():
    table = rows(section("## 4. Failure codes"))[1:]
    assert tuple(row[0].strip("`") for row in table) == FAILURE_CODES


def test_the_worked_example_is_what_the_code_sends():
    spoken = (
        Request(1, "status"),
        Result(1, Record((("pid", "count", 4711), ("rss", "bytes", 104857600)))),
        Failure(2, "busy", "a snapshot is running"),
    )
    blocks = re.findall(r"```\n(.*?)```", EXAMPLE, re.S)
    for block, message in zip(blocks, spoken, strict=True):
        data = bytes.fromhex(re.sub("#.*", "", block))
        assert data == frames.encode(messages.write(message), frames.AGENT)
        told = re.search(r"(\d+) bytes follow", block)
        assert told is not None
        assert int(told[1]) == len(data) - 4
