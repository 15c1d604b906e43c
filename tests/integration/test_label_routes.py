"""Requests are named by what the program calls them, and by nothing of the client's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from eavesdropping import below
from listening import Listening, around
from spawn import Stage, Worker, eventually

WORD = "hunter2"
NAMES = {
    "GET /shops/<name>/orders/<int:number>",  # Flask
    "GET /shops/<slug:name>/orders/<int:number>",  # Django, by WSGI and by ASGI
    "GET /shops/{name}/orders/{number:int}",  # Starlette and Falcon
    "WS /shops/{name}/orders/{number}/talk",
    "GET /shops/{name}/orders/{number}",  # FastAPI
    "GET /shops/<name>/orders/<number:int>",  # Bottle
}


@pytest.fixture
def sites(stage: Stage) -> Worker:
    worker = stage.spawn("routed_sites")
    assert worker.said == b"True True ready\n", (
        "each is hooked, and shows no line of ours"
    )
    return worker


def test_requests_have_their_routes_name_and_nothing_of_the_clients_leaves(sites):
    sites.say(WORD)
    with Listening(sites.wait_for_socket()) as client:

        def others_are_over() -> dict[str, Any] | None:
            facts = client.request("status").as_dict()
            return facts if facts["done"] == len(NAMES) + 1 else None

        status = eventually(others_are_over, what="the pages that lack are answered")
        client.request("tasks")
        list(client.answers(client.ask("snapshot", force=True)))
    assert {task["name"] for task in status["tasks"]} == NAMES
    assert status["done_by_name"] == [{"name": "GET", "count": 7}]
    ps = subprocess.run(
        [sys.executable, "-m", "liveheap_client", "ps", "--json"],
        env=sites.environ,
        capture_output=True,
        check=True,
    )
    sites.say("finish")
    with Listening(sites.wait_for_socket()) as later:

        def at_rest() -> dict[str, Any] | None:
            facts = later.request("status").as_dict()
            return facts if facts["running"] == 0 else None

        status = eventually(at_rest, what="all requests are answered")
    assert {each["name"] for each in status["done_by_name"]} == {"GET", *NAMES}
    assert status["done"] == 15
    assert status["tasks"] == []
    files = b"".join(below(sites.run_dir).values())
    assert b"snapshot" in files, "the audit log is among them"
    assert b"routed_sites.py" in ps.stdout
    for heard in (client.heard, ps.stdout, later.heard, files):
        assert around(WORD.encode(), bytes(heard)) == []
    sites.say("stop")
    assert sites.said == b"True ready\n", "each framework is as it was"
