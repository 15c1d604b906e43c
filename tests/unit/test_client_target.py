"""Targets, as people type them and as attackers do."""

import pytest

from liveheap_client import target as targets
from liveheap_client.errors import UsageError
from liveheap_client.target import Kind

UNDERSTOOD = [
    ("4711", {"kind": Kind.LOCAL, "pid": 4711}),
    ("1", {"kind": Kind.LOCAL, "pid": 1}),
    ("localhost", {"kind": Kind.LOCAL}),
    ("localhost/4711", {"kind": Kind.LOCAL, "pid": 4711}),
    ("localhost/app.py", {"kind": Kind.LOCAL, "name": "app.py"}),
    ("ops@localhost", {"kind": Kind.SSH, "host": "ops@localhost"}),
    ("web-3", {"kind": Kind.SSH, "host": "web-3"}),
    ("ops@web-3", {"kind": Kind.SSH, "host": "ops@web-3"}),
    ("ops@corp@web-3", {"kind": Kind.SSH, "host": "ops@corp@web-3"}),
    ("web-3/4711", {"kind": Kind.SSH, "host": "web-3", "pid": 4711}),
    ("web-3/celery", {"kind": Kind.SSH, "host": "web-3", "name": "celery"}),
    ("web-3/it's", {"kind": Kind.SSH, "host": "web-3", "name": "it's"}),
    ("web-3/a/b", {"kind": Kind.SSH, "host": "web-3", "name": "a/b"}),
    ("web-3:7070", {"kind": Kind.PORT, "host": "web-3", "port": 7070}),
    ("ops@web-3:7070", {"kind": Kind.PORT, "host": "ops@web-3", "port": 7070}),
    ("web:70/4711", {"kind": Kind.PORT, "host": "web", "port": 70, "pid": 4711}),
    ("web:70/mill", {"kind": Kind.PORT, "host": "web", "port": 70, "name": "mill"}),
    ("[::1]:7070", {"kind": Kind.PORT, "host": "::1", "port": 7070}),
    ("ops@[fe80::1]:7070", {"kind": Kind.PORT, "host": "ops@fe80::1", "port": 7070}),
    ("[::1]", {"kind": Kind.SSH, "host": "::1"}),
    ("[::1]/4711", {"kind": Kind.SSH, "host": "::1", "pid": 4711}),
    ("unix:/run/x.sock", {"kind": Kind.UNIX, "path": "/run/x.sock"}),
    ("unix:x", {"kind": Kind.UNIX, "path": "x"}),
]

REFUSED = [
    "",
    "-oProxyCommand=touch x",
    "-oProxyCommand=touch",
    "ops@-oProxyCommand=x",
    "-v@web-3",
    "--",
    "a b",
    "a\tb",
    "a\nb",
    "a\x00b",
    "a\x1b[31mb",
    "a\u202eb",
    "a\u00a0b",
    "$(id)",
    "`id`",
    ";id",
    "web;id",
    "web|id",
    "web&id",
    "$(id)@web",
    "web'3",
    'web"3',
    "4711;id",
    "x" * 300,
    "0",
    "99999999",
    "4711" * 10,
    "web/",
    "web/0",
    "/4711",
    "web:",
    "web:0",
    "web:65536",
    "web:http",
    "web:70/",
    "web:70/0",
    "::1",
    "::1:7070",
    "[::1",
    "[web]:70",
    "[::1]x",
    "unix:",
    "@web",
    "web:70 ",
]


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD)
def test_every_form_is_understood(text: str, expected: dict[str, object]) -> None:
    target = targets.parse(text)

    assert {name: getattr(target, name) for name in expected} == expected
    assert str(target) == text


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_target_is_a_usage_error_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        targets.parse(text)

    assert caught.value.hint
    assert len(str(caught.value)) < 200


def test_via_is_split_into_words_and_no_shell_reads_it() -> None:
    target = targets.via("docker exec -i 'my box' liveheap bridge; id $(id)")

    assert target.kind is Kind.VIA
    assert target.command == (
        "docker",
        "exec",
        "-i",
        "my box",
        "liveheap",
        "bridge;",
        "id",
        "$(id)",
    )


@pytest.mark.parametrize("command", ["", "  ", "'unclosed", "''"])
def test_via_needs_a_command(command: str) -> None:
    with pytest.raises(UsageError):
        targets.via(command)


def test_only_loopback_and_our_own_name_are_this_machine() -> None:
    assert targets.is_this_machine("localhost")
    assert targets.is_this_machine("::1")
    assert not targets.is_this_machine("web-3")
