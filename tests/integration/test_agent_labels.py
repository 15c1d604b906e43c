"""gunicorn's requests by name, eight at a time, on greenlets and on threads."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from agent_host import Host
from spawn import WORKERS, Stage, Worker, eventually

KINDS = {
    "gevent": ("greenlet", ["--worker-class", "gevent"]),
    "gthread": ("thread", ["--worker-class", "gthread", "--threads", "9"]),
}
NAME = "GET /orders/*"


@contextmanager
def asking(port: int, path: str) -> Iterator[socket.socket]:
    """Send a request; the answer is for whoever reads it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        request = f"GET {path}?key=hunter2 HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        yield connection


def answer(connection: socket.socket) -> int:
    """Return the status of the answer, read to its end."""
    said = b""
    while piece := connection.recv(4096):
        said += piece
    return int(said.split()[1])


def start_site(stage: Stage, options: list[str]) -> tuple[Worker, int]:
    """Start gunicorn with an agent in the master; return it, and its port."""
    conf = stage.directory / "conf.py"
    conf.write_text(
        "import os\n"
        "import liveheap\n"
        "liveheap.start(strict=True)\n"
        "def post_worker_init(worker):\n"
        "    os.write(int(os.environ['READY_FD']), b'ready\\n')\n"
    )
    command = [sys.executable, "-m", "gunicorn", "labelled_site:app", "-c", str(conf)]
    place = ["--chdir", str(WORKERS), "--bind", "127.0.0.1:0"]
    master = stage.spawn_command(
        [*command, *place, *options], end_signal=signal.SIGTERM
    )
    listening = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", master.stderr)
    assert listening, master.stderr
    return master, int(listening[1])


@pytest.mark.parametrize("kind", KINDS)
def test_requests_have_their_names_without_what_is_the_clients(kind, stage):
    holder, options = KINDS[kind]
    master, port = start_site(stage, options)
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(asking(port, f"/orders/{number}"))
            for number in range(8)
        ]
        master.wait_until_ready()
        pid = int(master.said.split()[0])
        host = Host(master)

        def status() -> dict:
            with host.connect(pid) as client:
                return client.request("status").as_dict()

        found = status()["tasks"]
        with asking(port, "/finish") as finishing:
            assert answer(finishing) == 204
        answers = [answer(connection) for connection in waiting]
    assert [(task["kind"], task["name"]) for task in found] == [("request", NAME)] * 8
    assert {task["holder"] for task in found} == {holder}
    assert len({task["address"] or task["thread"] for task in found}) == 8
    assert answers == [204, 500] * 4
    eventually(lambda: status()["running"] == 0, what="no request runs")
    assert {each["name"]: each["count"] for each in status()["done_by_name"]} == {
        NAME: 8,
        "GET /finish": 1,
    }
    assert "liveheap" not in master.stderr, "no traceback of the host's shows us"
