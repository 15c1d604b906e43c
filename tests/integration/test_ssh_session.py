"""The whole way over a real sshd to a real gevent worker."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap
from spawn import Worker, free_port
from ssh_server import NEEDS_BASH, NEEDS_SSHD, SshServer

pytestmark = NEEDS_SSHD


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker(
        "gevent_leak", env={"LIVEHEAP_TCP": f"127.0.0.1:{free_port()}"}
    )
    worker.wait_for_socket()
    return worker


def test_ps_of_a_host_lists_its_worker(worker: Worker, desk: dict[str, str]) -> None:
    listed = json.loads(liveheap("ps", "box", "--json", env=desk).stdout)

    assert [entry["pid"] for entry in listed] == [worker.pid]


def test_status_names_the_process_behind_the_host(
    worker: Worker, desk: dict[str, str]
) -> None:
    by_host = json.loads(liveheap("status", "box", "--json", env=desk).stdout)
    by_pid = json.loads(
        liveheap("status", f"box/{worker.pid}", "--json", env=desk).stdout
    )

    assert by_host["pid"] == by_pid["pid"] == worker.pid
    assert by_host["engine"] == "ok"


def test_snapshot_over_ssh_is_complete_and_private(
    worker: Worker, desk: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "worker.liveheap"

    liveheap("snapshot", "box", "-o", file, env=desk)

    assert file.stat().st_mode & 0o777 == 0o600
    assert "x20" in liveheap("backrefs", "Letter", file, env=desk).stdout


def test_diff_over_ssh_names_the_leaking_attribute_first(desk: dict[str, str]) -> None:
    report = json.loads(
        liveheap(
            "diff", "box", "--interval", 1, "--rounds", 4, "--json", env=desk
        ).stdout
    )

    assert "LEDGER" in report["suspects"][0]["path"]
    assert "entries" in report["suspects"][0]["path"]
    counts = report["suspects"][0]["counts"]
    assert len(counts) == 4
    assert counts == sorted(set(counts))


def test_backrefs_over_ssh_find_what_only_greenlets_hold(desk: dict[str, str]) -> None:
    tree = liveheap("backrefs", "Letter", "box", env=desk).stdout

    assert "write_letter" in tree
    assert "letter" in tree


def test_attach_over_ssh_answers_the_same_verbs(
    worker: Worker, desk: dict[str, str]
) -> None:
    done = liveheap("attach", "box", env=desk, stdin="status\nexit\n")

    assert str(worker.pid) in done.stdout


def test_host_and_port_reach_the_loopback_port_of_that_host(
    worker: Worker, desk: dict[str, str]
) -> None:
    port = worker.environ["LIVEHEAP_TCP"].rpartition(":")[2]

    answer = liveheap("status", f"box:{port}", "--json", env=desk).stdout

    assert json.loads(answer)["pid"] == worker.pid


def test_a_second_command_reuses_the_first_ones_login(
    server: SshServer, desk: dict[str, str]
) -> None:
    for _ in range(3):
        liveheap("status", "box", env=desk)

    assert server.logins() == 1


@NEEDS_BASH
def test_noise_of_the_remote_shell_does_not_disturb(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    (server.home / ".bashrc").write_text("echo welcome to the box; echo warning >&2\n")

    answer = liveheap("status", "box", "--json", env=desk).stdout

    assert json.loads(answer)["pid"] == worker.pid


def test_the_token_does_not_travel(
    worker: Worker, server: SshServer, desk: dict[str, str]
) -> None:
    liveheap("status", "box", env=desk)

    tokens = [path for path in worker.run_dir.rglob("token*") if path.is_file()]
    near = [
        path.read_bytes()
        for path in (server.directory / "desk").rglob("*")
        if path.is_file()
    ]
    assert tokens
    assert all(token.read_bytes() not in found for token in tokens for found in near)
