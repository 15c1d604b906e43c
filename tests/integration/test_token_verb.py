"""`liveheap token` and the keys it hands out, against a real worker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import liveheap
from contract.minimal_client import Gone, connect
from spawn import Worker, eventually

from liveheap.errors import AuthenticationError, CommandError
from liveheap.protocol import keyfile
from liveheap.protocol.auth import Key, Scope

BRIDGE = f"{sys.executable} -m liveheap_client bridge"


@pytest.fixture
def worker(spawn_worker: Callable[..., Worker]) -> Worker:
    worker = spawn_worker("plain")
    worker.wait_for_socket()
    return worker


def hand_out(worker: Worker, file: Path, *words: object) -> dict[str, str]:
    """Have a key made; return the environment of somebody who has nothing else.

    It still finds the socket: what a key is for is reached by other ways in real life.
    """
    liveheap("token", "-o", file, *words, env=worker.environ)
    desk = file.parent / "desk"
    desk.mkdir(mode=0o700, exist_ok=True)
    return {
        **worker.environ,
        "LIVEHEAP_TOKEN_FILE": str(file),
        "LIVEHEAP_DIR": str(desk),
        "HOME": str(desk),
    }


def target(worker: Worker) -> str:
    return f"unix:{worker.wait_for_socket()}"


def test_it_says_where_the_token_is_and_never_what(worker: Worker) -> None:
    token = worker.run_dir / "token"

    told = liveheap("token", env=worker.environ).stdout
    (facts,) = json.loads(liveheap("token", "--json", env=worker.environ).stdout)

    assert told.startswith(str(token))
    assert f"uid {os.geteuid()}, mode 0600" in told
    assert facts["mode"] == "0600"
    assert facts["fault"] is None
    assert token.read_bytes().hex() not in told + str(facts)


def test_without_a_token_it_says_how_one_comes_to_be(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "LIVEHEAP_DIR": str(tmp_path / "none")}
    for words in ([], ["--scope", "read"], ["--rotate"]):
        done = liveheap("token", *words, env=env, expect=4)
        assert "there is no token" in done.stderr
        assert "hint:" in done.stderr


def test_a_key_opens_its_scope_until_its_time_and_nothing_above(
    worker: Worker, tmp_path: Path
) -> None:
    env = hand_out(worker, tmp_path / "key", "--scope", "read", "--ttl", "5m")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600

    status = json.loads(liveheap("status", target(worker), "--json", env=env).stdout)
    refused = liveheap("backrefs", "dict", target(worker), env=env, expect=4)

    assert status["pid"] == worker.pid
    assert "this key is for scope read, not graph" in refused.stderr
    assert "hint: " in refused.stderr


def test_a_lasting_key_opens_what_is_below_it_too(
    worker: Worker, tmp_path: Path
) -> None:
    env = hand_out(worker, tmp_path / "key", "--scope", "graph", "--ttl", "never")

    liveheap("histogram", target(worker), env=env)
    liveheap("snapshot", target(worker), "-o", tmp_path / "one.liveheap", env=env)
    below = liveheap("token", "--scope", "read", "--json", env=env).stdout
    above = liveheap("token", "--scope", "values", env=env, expect=4)

    key = keyfile.read(json.loads(below)["key"].encode(), "FILE")
    assert key.scope is Scope.READ
    assert "for scope graph, not values" in above.stderr


def test_a_key_serves_through_a_bridge_that_knows_another_token(
    worker: Worker, tmp_path: Path
) -> None:
    env = hand_out(worker, tmp_path / "key", "--scope", "graph")
    over_there = f"env -u LIVEHEAP_TOKEN_FILE LIVEHEAP_DIR={worker.run_dir} {BRIDGE}"

    status = liveheap("status", "--json", "--via", over_there, env=env)
    wrong = Key(Scope.GRAPH, bytes(32), 2_000_000_000)
    (tmp_path / "key").write_text(keyfile.write(wrong, remark=""))
    refused = liveheap("status", "--via", over_there, env=env, expect=4)

    assert json.loads(status.stdout)["pid"] == worker.pid
    assert "does not hold this token" in refused.stderr


def test_a_bridge_that_only_relays_gives_nobody_anything(
    worker: Worker, tmp_path: Path
) -> None:
    raw = f"env LIVEHEAP_DIR={worker.run_dir} {BRIDGE} --raw"
    env = {
        **worker.environ,
        "LIVEHEAP_DIR": str(tmp_path / "none"),
        "HOME": str(tmp_path),
    }

    refused = liveheap("status", "--via", raw, env=env, expect=4)

    assert "leaves the handshake to a key of yours" in refused.stderr
    assert "LIVEHEAP_TOKEN_FILE" in refused.stderr


def test_an_unreadable_key_and_an_old_one_are_told_apart(
    worker: Worker, tmp_path: Path
) -> None:
    env = hand_out(worker, tmp_path / "key", "--scope", "read")
    (tmp_path / "key").chmod(0o644)
    open_to_all = liveheap("status", target(worker), env=env, expect=4)
    (tmp_path / "key").chmod(0o600)
    old = keyfile.write(Key(Scope.READ, bytes(32), 1), remark="")
    (tmp_path / "key").write_text(old)
    expired = liveheap("status", target(worker), env=env, expect=4)

    assert "has mode 0644; others can use it" in open_to_all.stderr
    assert "expired" in expired.stderr


def test_a_new_token_ends_keys_at_once_and_sessions_at_their_next_request(
    worker: Worker, tmp_path: Path
) -> None:
    env = hand_out(worker, tmp_path / "key", "--scope", "graph", "--ttl", "never")
    socket, before = worker.wait_for_socket(), worker.run_dir / "token"
    old = before.read_bytes()
    with connect(socket) as running:
        assert running.request("status").as_dict()["pid"] == worker.pid
        liveheap("token", "--rotate", env=worker.environ)
        assert before.read_bytes() != old
        assert before.stat().st_mode & 0o777 == 0o600
        with pytest.raises(CommandError) as refused:
            running.request("status")
        assert refused.value.code == "scope"
        with pytest.raises(Gone):
            running.next_message()
    with pytest.raises(AuthenticationError) as wrong:
        connect(socket, token=old)
    assert wrong.value.code == "not-genuine"
    assert "not genuine" in liveheap("status", target(worker), env=env, expect=4).stderr
    liveheap("status", worker.pid, env=worker.environ)
    log = worker.run_dir / "audit.log"
    eventually(lambda: "token was replaced" in log.read_text(), what="it is audited")


def test_a_key_is_never_written_over_a_file(worker: Worker, tmp_path: Path) -> None:
    for name in ("there", "link"):
        path = tmp_path / name
        if name == "link":
            path.symlink_to(tmp_path / "elsewhere")
        else:
            path.write_text("mine")
        words = ("token", "--scope", "read", "-o", path)
        done = liveheap(*words, env=worker.environ, expect=1)
        assert "cannot write" in done.stderr
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--ttl", "1h"],
        ["-o", "FILE"],
        ["--rotate", "--scope", "read"],
        ["--rotate", "--ttl", "1h"],
        ["--scope", "all"],
        ["--scope", "read", "--ttl", "0"],
        ["--scope", "read", "--ttl", "-1h"],
        ["--scope", "read", "--ttl", "nan"],
        ["--scope", "read", "--ttl", "99999d"],
        ["secret"],
    ],
)
def test_words_that_make_no_sense_are_a_usage_error(words: list[str]) -> None:
    assert "hint: " in liveheap("token", *words, env=os.environ, expect=2).stderr
