"""The token file: where it is looked for, how it is made, and what is refused."""

import os
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import liveheap
from liveheap import registry
from liveheap.errors import AuthenticationError
from liveheap.tokens import TokenError, ensure_token, find_token

ROOT = Path(liveheap.__file__).parent.parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another uid")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and nothing of this machine in the search path."""
    for name in ("RUNTIME_ROOT", "TEMPORARY_ROOT"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setattr(registry, name, str(place))
    return tmp_path


def put(path: Path, token: bytes = b"t" * 32, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(token)
    path.chmod(mode)
    return path


def places(home: Path) -> tuple[dict[str, str], list[Path]]:
    """An environment that names every place, and the places in order of search."""
    run_dir = home / "run"
    run_dir.mkdir(0o700)
    environ = {
        "LIVEHEAP_TOKEN_FILE": str(home / "chosen"),
        "CREDENTIALS_DIRECTORY": str(home / "credentials"),
        "LIVEHEAP_DIR": str(run_dir),
        "HOME": str(home),
    }
    return environ, [
        home / "chosen",
        home / "credentials" / "liveheap.token",
        run_dir / "token",
        home / ".config" / "liveheap" / "token",
    ]


def fault(path: Path) -> TokenError:
    """Why a token file is refused."""
    with pytest.raises(TokenError) as caught:
        find_token({"LIVEHEAP_TOKEN_FILE": str(path)})
    return caught.value


@pytest.mark.parametrize("first", range(4))
def test_the_first_place_that_has_a_token_wins(home, first):
    environ, paths = places(home)
    for number, path in enumerate(paths[first:], first):
        put(path, bytes([number]) * 32)
    if first > 0:
        del environ["LIVEHEAP_TOKEN_FILE"]
    assert find_token(environ, home / "run") == bytes([first]) * 32
    assert find_token(environ) == bytes([first]) * 32


def test_a_named_file_that_is_missing_is_not_passed_over(home):
    environ, paths = places(home)
    put(paths[2])
    with pytest.raises(TokenError, match="no such file") as caught:
        find_token(environ, home / "run")
    assert str(paths[0]) in (caught.value.hint or "")


def test_without_any_token_the_error_says_what_to_do(home):
    with pytest.raises(TokenError, match="there is no token") as caught:
        find_token({"HOME": str(home)})
    assert caught.value.hint
    assert isinstance(caught.value, AuthenticationError)
    assert caught.value.code == "token"


def test_an_unfit_file_is_an_error_even_if_a_later_place_has_a_good_one(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[2], mode=0o644)
    put(paths[3])
    with pytest.raises(TokenError, match="mode 0644"):
        find_token(environ, home / "run")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601, 0o660, 0o777])
def test_a_file_that_others_can_use_is_refused(tmp_path, mode):
    error = fault(put(tmp_path / "token", mode=mode))
    assert f"mode {mode:04o}" in str(error)
    assert error.hint


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_can_use_is_accepted(tmp_path, mode):
    path = put(tmp_path / "token", mode=mode)
    assert find_token({"LIVEHEAP_TOKEN_FILE": str(path)}) == b"t" * 32


@pytest.mark.parametrize("length", [0, 31, 33, 65536])
def test_a_file_of_another_length_is_refused_and_not_shown(tmp_path, length):
    error = fault(put(tmp_path / "token", b"S" * length))
    assert f"has {length} bytes; a token has 32" in str(error)
    assert "SSS" not in str(error) + repr(error) + str(error.hint)


def test_a_link_is_refused_even_to_a_good_file(tmp_path):
    good = put(tmp_path / "good")
    (tmp_path / "token").symlink_to(good)
    assert "is a link" in str(fault(tmp_path / "token"))


def test_a_broken_link_is_refused_as_a_link(tmp_path):
    (tmp_path / "token").symlink_to(tmp_path / "nowhere")
    assert "is a link" in str(fault(tmp_path / "token"))


def test_a_fifo_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "token", 0o600)
    assert "not a regular file" in str(fault(tmp_path / "token"))


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "token").mkdir(0o700)
    assert "not a regular file" in str(fault(tmp_path / "token"))


@needs_root
def test_a_file_of_another_uid_is_refused(tmp_path):
    path = put(tmp_path / "token")
    os.chown(path, 12345, 12345)
    error = fault(path)
    assert "belongs to uid 12345, not to 0" in str(error)


def test_a_credential_of_systemd_may_show_a_group_bit(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[1], mode=0o440)
    assert find_token(environ) == b"t" * 32


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o450, 0o402])
def test_a_credential_that_others_can_use_is_refused(home, mode):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[1], mode=mode)
    with pytest.raises(TokenError, match=f"mode {mode:04o}"):
        find_token(environ)


@needs_root
def test_another_uid_cannot_read_a_token_and_is_told_why():
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from liveheap.tokens import TokenError, find_token\n"
        "os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)\n"
        "try: find_token({'LIVEHEAP_TOKEN_FILE': sys.argv[2]})\n"
        "except TokenError as exc: print(exc, '/', exc.hint)\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = put(Path(directory, "token"))
        done = subprocess.run(
            [sys.executable, "-c", program, str(ROOT), str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    assert "cannot be opened: Permission denied / run as" in done.stdout


@needs_root
def test_a_home_that_was_left_with_its_user_is_passed_over():
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from liveheap.tokens import ensure_token, find_token\n"
        "os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)\n"
        "environ = {'HOME': sys.argv[2], 'LIVEHEAP_DIR': sys.argv[3]}\n"
        "run = Path(sys.argv[3]); run.mkdir(0o700)\n"
        "assert ensure_token(environ, run) == run / 'token'\n"
        "assert len(find_token(environ, run)) == 32\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        home = Path(directory, "home")
        put(home / ".config" / "liveheap" / "token")
        home.chmod(0o700)
        command = [sys.executable, "-c", program, str(ROOT), str(home)]
        subprocess.run([*command, f"{directory}/run"], check=True)


def test_a_new_token_is_random_private_and_complete(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    path = ensure_token(environ, home / "run")
    assert path == paths[2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = find_token(environ)
    assert len(token) == 32
    assert len(set(token)) > 8
    assert [item.name for item in (home / "run").iterdir()] == ["token"]


def test_an_existing_token_is_kept(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[3])
    assert ensure_token(environ, home / "run") == paths[3]
    assert not paths[2].exists()


def test_a_token_is_not_made_beside_an_unfit_one(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[2], mode=0o644)
    with pytest.raises(TokenError, match="mode 0644"):
        ensure_token(environ, home / "run")
    paths[2].unlink()
    paths[2].symlink_to(home / "elsewhere")
    with pytest.raises(TokenError, match="is a link"):
        ensure_token(environ, home / "run")
    assert not (home / "elsewhere").exists()


def test_a_wide_umask_and_a_narrow_one_give_the_same_mode(home):
    environ, _ = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    for mask in (0o000, 0o077):
        before = os.umask(mask)
        try:
            path = ensure_token(environ, home / "run")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()


def test_many_at_once_end_with_one_token(home):
    environ, _ = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]

    def first_token(_: int) -> bytes:
        ensure_token(environ, home / "run")
        return find_token(environ)

    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(first_token, range(64)))
    assert len(tokens) == 1
    assert [item.name for item in (home / "run").iterdir()] == ["token"]


def test_where_no_token_can_be_made_the_error_says_so(home):
    with pytest.raises(TokenError, match="no token could be made"):
        ensure_token({}, home / "missing")


def test_an_agents_directory_gets_its_own_token_beside_another_directorys(home):
    one, other = home / "one", home / "other"
    for path in (one, other):
        path.mkdir(0o700)
        assert ensure_token({"LIVEHEAP_DIR": str(one)}, path) == path / "token"
    environ = {"LIVEHEAP_DIR": str(one)}
    assert find_token(environ, other) == (other / "token").read_bytes()
    assert find_token(environ) == (one / "token").read_bytes()
    assert find_token(environ, other) != find_token(environ)


def test_a_token_beside_a_forwarded_socket_in_an_open_directory_is_not_looked_at(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[2])
    bait = put(home / "open" / "token", b"b" * 32, mode=0o644)
    bait.parent.chmod(0o1777)
    assert find_token(environ, bait.parent) == b"t" * 32


def test_a_token_of_the_users_own_directories_serves_a_socket_anywhere(home):
    environ, paths = places(home)
    del environ["LIVEHEAP_TOKEN_FILE"]
    put(paths[2])
    (home / "empty").mkdir(0o700)
    assert find_token(environ, home / "empty") == b"t" * 32
    assert find_token(environ, home / "missing") == b"t" * 32
