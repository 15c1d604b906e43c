"""The command line without any worker: help, usage errors, exit codes, bare servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import liveheap
from terminal import FAKE_SSH, on_a_screen, without

VERBS = (
    "attach",
    "backrefs",
    "bridge",
    "completion",
    "demo",
    "diff",
    "gc",
    "histogram",
    "ps",
    "run",
    "snapshot",
    "status",
)
USAGE, CANNOT_CONNECT = 2, 3
GOLDEN = Path(__file__).parents[1] / "data" / "golden-1.0.liveheap"
EXTRA = ("click", "rich", "prompt_toolkit", "numpy", "msgpack", "zstandard")


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment in which no worker exists."""
    (tmp_path / "run").mkdir(mode=0o700)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("LIVEHEAP")}
    return {**environ, "LIVEHEAP_DIR": str(tmp_path / "run"), "HOME": str(tmp_path)}


def ssh(nobody: dict[str, str], mode: str, **more: str) -> dict[str, str]:
    return {**nobody, "LIVEHEAP_SSH": f"{sys.executable} {FAKE_SSH} {mode}", **more}


def test_help_lists_every_verb(nobody: dict[str, str]) -> None:
    said = liveheap("--help", env=nobody).stdout

    listed = {line.split()[0] for line in said.splitlines() if line.startswith("  ")}
    assert set(VERBS) <= listed


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_fits_the_screen(
    verb: str, nobody: dict[str, str]
) -> None:
    said = liveheap(verb, "--help", env={**nobody, "COLUMNS": "80"}).stdout

    assert f"liveheap {verb}" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    "words",
    [
        ("statsu",),
        ("status", "a", "b"),
        ("status", "--nonsense"),
        ("status", "a b"),
        ("status", "--", "-oProxyCommand=touch"),
        ("status", "web;id"),
        ("status", "web/0"),
        ("status", "--via", "cat", "4711"),
        ("status", "--via", ""),
        ("status", "./nowhere"),
        ("status", "--timeout", "0"),
        ("status", "--timeout", "nan"),
        ("status", "--connect-timeout", "inf"),
        ("ps", "box", "--connect-timeout", "nan"),
        ("snapshot", "--max-pause", "-1"),
        ("snapshot", "-o", "/"),
        ("snapshot", "-o", "-"),
        ("snapshot", "-o", "/dev/null", "--force-overwrite"),
        ("histogram", "--limit", "0"),
        ("diff", "--interval", "soon"),
        ("diff", "--interval", "0"),
        ("diff", "--rounds", "1"),
        ("backrefs",),
        ("completion", "tcsh"),
        ("ps", "4711"),
        ("ps", "box", "--via", "cat"),
        ("ps", "--nonsense"),
        ("run",),
        ("bridge", "--pid", "x"),
    ],
)
def test_wrong_words_are_a_usage_error_with_a_hint(
    words: tuple[str, ...], nobody: dict[str, str]
) -> None:
    done = liveheap(*words, env=nobody, expect=USAGE)

    first, *_, last = done.stderr.splitlines()
    assert first.startswith("liveheap: ")
    assert last.startswith("hint: ")
    assert done.stdout == ""


def test_no_words_at_all_are_answered_with_the_help(nobody: dict[str, str]) -> None:
    assert liveheap(env=nobody).stdout == liveheap("--help", env=nobody).stdout


def test_help_cuts_no_summary_short(nobody: dict[str, str]) -> None:
    listed = liveheap("--help", env=nobody).stdout.partition("Commands:")[2]

    assert "..." not in listed


def test_no_worker_at_all_is_said_with_a_hint_how_to_start_one(
    nobody: dict[str, str],
) -> None:
    done = liveheap("status", env=nobody, expect=CANNOT_CONNECT)

    assert "no worker" in done.stderr
    assert "liveheap run" in done.stderr
    assert json.loads(liveheap("ps", "--json", env=nobody).stdout) == []


def test_a_directory_that_others_can_enter_is_said(
    nobody: dict[str, str], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    env = {**nobody, "LIVEHEAP_DIR": str(shared)}

    for words in (["ps"], ["status"], ["status", os.getpid()]):
        done = liveheap(*words, env=env, expect=CANNOT_CONNECT)
        assert f"LIVEHEAP_DIR={shared} is not" in done.stderr
        assert f"chmod 700 {shared}" in done.stderr


def test_a_program_that_cannot_run_is_said_with_a_hint(nobody: dict[str, str]) -> None:
    done = liveheap("run", "--", "nosuchprogram", env=nobody, expect=1)

    assert "cannot run 'nosuchprogram'" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("999999", "no process 999999"),
        (str(os.getpid()), "has no liveheap agent"),
        ("unix:/nowhere/x.sock", "No such file"),
        ("127.0.0.1:1", "nothing listens on 127.0.0.1:1"),
    ],
    ids=["no process", "no agent", "no socket", "no listener"],
)
def test_nobody_there_is_said(target: str, words: str, nobody: dict[str, str]) -> None:
    secret = Path(nobody["LIVEHEAP_DIR"], "token")
    secret.touch(mode=0o600)
    secret.write_bytes(b"x" * 32)

    done = liveheap("status", target, env=nobody, expect=CANNOT_CONNECT)

    assert words in done.stderr


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("host-key", "Host key verification failed"),
        ("refused", "Connection refused"),
        ("not-found", "no `liveheap` on the PATH of box"),
        ("not-executable", "cannot be executed"),
        ("silent", "ssh said nothing"),
        ("other", "this account is for git only"),
    ],
)
def test_every_way_ssh_fails_is_said_in_its_own_words(
    mode: str, words: str, nobody: dict[str, str]
) -> None:
    done = liveheap("status", "box", env=ssh(nobody, mode), expect=CANNOT_CONNECT)

    assert words in done.stderr
    assert "hint: " in done.stderr or mode == "silent"


def test_a_host_that_never_greets_is_given_up(nobody: dict[str, str]) -> None:
    done = liveheap(
        *("status", "box", "--connect-timeout", "0.5"),
        env=ssh(nobody, "hang"),
        expect=CANNOT_CONNECT,
    )

    assert "did not greet" in done.stderr


def test_ssh_is_called_with_the_options_that_keep_it_safe(
    nobody: dict[str, str], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    env = ssh(nobody, "host-key", FAKE_SSH_RECORD=str(record))

    liveheap("status", "ops@box/it's", env=env, expect=CANNOT_CONNECT)

    *options, host, command = record.read_text().rstrip("\n").split("\t")
    given = set(options[2::2])
    assert host == "ops@box"
    assert command == ("liveheap bridge --scope graph --protocol 1 --name 'it'\"'\"'s'")
    assert {
        "BatchMode=yes",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ExitOnForwardFailure=yes",
        "ClearAllForwardings=yes",
        "ControlMaster=auto",
        "ControlPersist=120",
    } <= given
    assert not any("StrictHostKey" in option for option in options)


@pytest.mark.parametrize(
    ("mode", "words"), [("host-key", ["--no-mux"]), ("own-control", [])]
)
def test_no_connection_is_shared_where_the_user_says_so(
    mode: str, words: list[str], nobody: dict[str, str], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    env = ssh(nobody, mode, FAKE_SSH_RECORD=str(record), PATH="/usr/bin:/bin")

    liveheap("status", "box", *words, env=env, expect=CANNOT_CONNECT)

    assert "Control" not in record.read_text()


def test_remote_command_replaces_the_name_of_liveheap(
    nobody: dict[str, str], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    env = ssh(nobody, "host-key", FAKE_SSH_RECORD=str(record))

    liveheap(
        *("ps", "box", "--remote-command", "sudo -n liveheap"),
        env=env,
        expect=CANNOT_CONNECT,
    )

    assert record.read_text().endswith("sudo -n liveheap bridge --list\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(
    shell: str, nobody: dict[str, str]
) -> None:
    script = liveheap("completion", shell, env=nobody).stdout

    assert "_LIVEHEAP_COMPLETE" in script
    assert "liveheap" in script


def test_bash_completes_verbs(nobody: dict[str, str]) -> None:
    env = {
        **nobody,
        "_LIVEHEAP_COMPLETE": "bash_complete",
        "COMP_WORDS": "liveheap sta",
        "COMP_CWORD": "1",
    }

    assert "plain,status" in liveheap(env=env).stdout


@pytest.mark.parametrize(
    "words", [["ps", "--json"], ["bridge", "--list"], ["run", "--", "true"]]
)
def test_a_bare_server_runs_ps_run_and_bridge(
    words: list[str], nobody: dict[str, str]
) -> None:
    done = subprocess.run(
        [*without(*EXTRA), *words], env=nobody, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("click", ["status", os.getpid()]),
        ("numpy", ["histogram", GOLDEN]),
        ("rich", ["histogram", GOLDEN]),
        ("prompt_toolkit", ["attach", os.getpid()]),
    ],
)
def test_without_the_extra_a_verb_says_what_to_install_before_it_asks_anything(
    missing: str, words: list[object], nobody: dict[str, str]
) -> None:
    with on_a_screen(*words, env=nobody, program=without(missing)) as screen:
        assert screen.end() == 1

    said = " ".join(screen.seen.split())
    assert said.startswith(
        f"liveheap: {words[0]!r} needs the client's packages "
        f"({missing} is not installed)"
    )
    assert "hint: pip install 'liveheap[cli]'" in said


def test_without_click_help_lists_what_works(nobody: dict[str, str]) -> None:
    done = subprocess.run(
        [*without("click"), "--help"],
        env=nobody,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "bridge" in done.stdout
    assert "liveheap[cli]" in done.stdout


def test_a_reader_that_leaves_is_no_error(nobody: dict[str, str]) -> None:
    command = f"{sys.executable} -m liveheap_client --help | true"

    done = subprocess.run(
        ["/bin/sh", "-c", command], env=nobody, capture_output=True, check=False
    )

    assert done.stderr == b""
