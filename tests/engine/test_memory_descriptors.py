"""Open files by kind, and the ports of TCP sockets."""

import contextlib
import gc
import os
import select
import socket
import tempfile

import pytest

from liveheap import _heap

MANY = 900


@pytest.fixture(autouse=True)
def _collected():
    """Leave nothing that a collection in the middle of a test would close."""
    gc.collect()


def gained(before, after):
    kinds = {
        name: n - before["kinds"].get(name, 0) for name, n in after["kinds"].items()
    }
    return {name: n for name, n in kinds.items() if n}


def count():
    found = _heap.descriptors(10.0)
    assert not found["cut_short"]
    assert sum(found["kinds"].values()) == found["n"]
    return found


def test_as_many_as_the_kernel_lists():
    assert count()["n"] == len(os.listdir("/proc/self/fd")) - 1


def open_pipe(stack):
    for fd in os.pipe():
        stack.callback(os.close, fd)


def open_unix(stack):
    for end in socket.socketpair():
        stack.enter_context(end)


def open_udp(stack):
    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def open_fd(function, *args):
    def into(stack):
        stack.callback(os.close, function(*args))

    return into


def open_epoll(stack):
    stack.callback(select.epoll().close)


def open_file(stack):
    fd, name = tempfile.mkstemp()
    os.unlink(name)
    stack.callback(os.close, fd)


KINDS = [
    ("pipe", 2, open_pipe),
    ("unix", 2, open_unix),
    ("udp", 1, open_udp),
    ("file", 1, open_file),
    ("epoll", 1, open_epoll),
    ("device", 1, open_fd(os.open, "/dev/null", os.O_RDONLY)),
    ("memfd", 1, open_fd(os.memfd_create, "a name")),
]
if hasattr(os, "eventfd"):
    KINDS.append(("eventfd", 1, open_fd(os.eventfd, 0)))


@pytest.mark.parametrize(("kind", "n", "into"), KINDS, ids=[each[0] for each in KINDS])
def test_each_kind_has_its_name(kind, n, into):
    before = count()
    with contextlib.ExitStack() as stack:
        into(stack)
        assert gained(before, count()) == {kind: n}


def test_connections_are_told_by_the_port_that_they_have_in_common():
    before = count()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.enter_context(server.accept()[0])
        after = count()

    assert gained(before, after) == {"tcp": 10, "tcp-listening": 1}
    assert dict(after["remote_ports"])[port] == 5
    assert dict(after["local_ports"])[port] == 5


def test_without_time_there_are_at_least_those_that_were_seen():
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            stack.callback(os.close, os.dup(2))
        found = _heap.descriptors(0.0)

    assert found["cut_short"]
    assert 0 < found["n"] < MANY
