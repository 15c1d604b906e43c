"""gunicorn's requests by name, eight at a time, on greenlets and on threads."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from agent_host import Host
from spawn import WORKERS, Stage, Worker, eventually

NAME = "GET"


@dataclass(frozen=True)
class Site:
    """A gunicorn master, the pid of its worker, and eight clients without an answer."""

    master: Host
    pid: int
    port: int
    waiting: list[socket.socket]

    def status(self) -> dict[str, Any]:
        """Ask the worker."""
        with self.master.connect(self.pid) as client:
            facts: dict[str, Any] = client.request("status").as_dict()
        return facts


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
    place = [
        "--chdir",
        str(WORKERS),
        "--bind",
        "127.0.0.1:0",
        "--graceful-timeout",
        "0",
    ]
    master = stage.spawn_command(
        [*command, *place, *options], end_signal=signal.SIGQUIT
    )
    listening = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", master.stderr)
    assert listening, master.stderr
    return master, int(listening[1])


@contextmanager
def holding(stage: Stage, options: list[str]) -> Iterator[Site]:
    """A site in which eight requests hold."""
    master, port = start_site(stage, options)
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(asking(port, f"/orders/{number}"))
            for number in range(8)
        ]
        master.wait_until_ready()
        yield Site(Host(master), int(master.said.split()[0]), port, waiting)


def assert_labelled(found: list[dict[str, Any]], holder: str) -> None:
    assert [(task["kind"], task["name"]) for task in found] == [("request", NAME)] * 8
    assert {task["holder"] for task in found} == {holder}
    assert len({task["address"] or task["thread"] for task in found}) == 8


def test_requests_on_greenlets_are_named_without_what_is_the_clients(stage):
    with holding(stage, ["--worker-class", "gevent"]) as site:
        assert_labelled(site.status()["tasks"], "greenlet")
        with asking(site.port, "/finish") as finishing:
            assert answer(finishing) == 204
        assert [answer(connection) for connection in site.waiting] == [204, 500] * 4
        eventually(lambda: site.status()["running"] == 0, what="no request runs")
        done = site.status()["done_by_name"]
    assert {each["name"]: each["count"] for each in done} == {NAME: 9}
    said = site.master.worker.stderr
    assert "ValueError: /orders/7" in said
    assert "liveheap" not in said, "no traceback of the host's shows us"


def test_requests_on_threads_have_names_too(stage):
    with holding(stage, ["--worker-class", "gthread", "--threads", "8"]) as site:
        assert_labelled(site.status()["tasks"], "thread")
