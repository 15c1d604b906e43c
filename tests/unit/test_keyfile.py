"""A key as text: written, read back, and refused in words where it is none."""

from pathlib import Path

import pytest

from liveheap.errors import AuthenticationError
from liveheap.protocol import keyfile
from liveheap.protocol.auth import Key, Scope, scope_key
from liveheap_client import credentials

SECRET = bytes(range(32))
KEY = Key(Scope.GRAPH, SECRET, 2_000_000_000)
TEXT = keyfile.write(KEY, remark="opens\nthe shop's workers")


def test_a_key_is_read_as_it_was_written() -> None:
    assert keyfile.read(TEXT.encode(), "FILE") == KEY
    assert "expires: 2000000000 (2033-05-18 03:33:20 UTC)" in TEXT
    assert TEXT.startswith("# opens the shop's workers\n")


def test_what_mail_and_editors_add_does_no_harm() -> None:
    changed = "\r\n" + TEXT.replace("\n", "\r\n").replace(": ", " :   ") + "sent: today"

    assert keyfile.read(changed.encode(), "FILE") == KEY


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("liveheap-key: 1", "liveheap-key: 2"),
        ("scope: graph", "scope: everything"),
        ("scope: graph\n", ""),
        ("expires: 2000000000", "expires: soon"),
        ("expires: 2000000000", "expires: -1"),
        ("expires: 2000000000", f"expires: {2**32}"),
        ("expires: 2000000000 (2033-05-18 03:33:20 UTC)", "expires:"),
        (SECRET.hex(), SECRET.hex()[:-2]),
        (SECRET.hex(), "zz" * 32),
        (SECRET.hex(), ""),
    ],
)
def test_a_broken_key_is_refused_without_its_secret(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(AuthenticationError) as caught:
        keyfile.read(TEXT.replace(old, new).encode(), "FILE")

    assert "FILE holds neither a token (32 bytes) nor a key" in str(caught.value)
    assert caught.value.hint
    assert SECRET.hex()[:16] not in str(caught.value) + str(caught.value.hint)


@pytest.mark.parametrize("data", [b"", b"\xff" * 31, b"GET / HTTP/1.1", bytes(4096)])
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(AuthenticationError, match="neither a token"):
        keyfile.read(data, "FILE")


def put(path: Path, data: bytes, mode: int = 0o600) -> dict[str, str]:
    path.write_bytes(data)
    path.chmod(mode)
    return {"LIVEHEAP_TOKEN_FILE": str(path)}


def test_the_named_file_may_hold_a_key_or_a_token(tmp_path: Path) -> None:
    key = put(tmp_path / "key", TEXT.encode())
    token = put(tmp_path / "token", SECRET)

    assert credentials.find(key) == KEY
    assert credentials.find(token) == SECRET
    assert credentials.handed_out(token) is None
    assert credentials.chosen(token) == SECRET
    assert credentials.chosen({}) is None


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match="mode 0644"):
        credentials.find(put(tmp_path / "key", TEXT.encode(), mode=0o644))


def test_a_file_that_is_far_too_long_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match="has 4097 bytes"):
        credentials.find(put(tmp_path / "key", TEXT.encode().ljust(4097)))


def test_a_key_whose_time_is_over_is_told_before_anybody_is_asked(
    tmp_path: Path,
) -> None:
    old = keyfile.write(Key(Scope.READ, SECRET, 1_000_000_000), remark="")
    with pytest.raises(AuthenticationError, match=r"expired .* ago") as caught:
        credentials.find(put(tmp_path / "key", old.encode()))

    assert caught.value.code == "expired"
    assert "--scope read" in (caught.value.hint or "")


def test_a_key_that_expires_asks_for_its_own_scope_and_a_lasting_one_for_less() -> None:
    lasting = Key(Scope.GRAPH, scope_key(SECRET, Scope.GRAPH))

    assert credentials.fitting(KEY, Scope.READ) is Scope.GRAPH
    assert credentials.fitting(KEY, Scope.EXEC) is Scope.EXEC  # and is refused then
    assert credentials.fitting(lasting, Scope.READ) is Scope.READ
    assert credentials.fitting(SECRET, Scope.READ) is Scope.READ
