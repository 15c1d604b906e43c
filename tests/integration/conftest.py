"""A real sshd and a desk that reaches it, for tests that have a `worker`."""

from collections.abc import Iterator

import pytest
from spawn import Stage, Worker
from ssh_server import SshServer, running_sshd


@pytest.fixture
def server(worker: Worker, stage: Stage) -> Iterator[SshServer]:
    """An sshd on loopback whose sessions find the worker."""
    directory = stage.directory / "ssh"
    directory.mkdir(mode=0o700)
    with running_sshd(directory, run_dir=worker.run_dir) as server:
        yield server


@pytest.fixture
def desk(worker: Worker, server: SshServer) -> dict[str, str]:
    """The environment of somebody at a desk, who has ssh and no worker."""
    return server.environ(worker.environ)


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Worker, SshServer]]:
    """A worker, and the sshd of its machine."""
    stage = Stage()
    try:
        worker = stage.spawn("plain")
        worker.wait_for_socket()
        directory = stage.directory / "ssh"
        directory.mkdir(mode=0o700)
        with running_sshd(directory, run_dir=worker.run_dir) as server:
            yield worker, server
    finally:
        stage.close()
