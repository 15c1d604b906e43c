"""The second way in: `sys.remote_exec` of CPython 3.14 and later.

It stops nobody: it leaves the path of a script in the worker, whose main thread runs it
at its next safe point. Three things follow from that.

- A main thread that sleeps in an event loop comes to no safe point. It is stopped and
  let go at once, which ends the loop's wait as a signal would, and changes nothing
  else. One that sleeps in a lock or in `recv` goes on sleeping: there the next way is
  taken.
- The worker has one slot for a path, and nothing takes a call back. So the script does
  nothing once its pipe is closed, and while it may still be called its file must not go
  away: that would print a traceback into the worker's log. It is replaced by an empty
  one, which stays until the worker has run it, or somebody finds the worker gone. It
  has run it when any Python of ours has run on its main thread since.
- Only an interpreter of the same minor version can do it. If this is another, the
  worker's own executable is run for the one call: as the worker's user, without its
  environment, and only if it is a file that nobody else could have changed.
"""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from liveheap_client.inject.nudge import nudge
from liveheap_client.inject.process import Process

SINCE = (3, 14)
PREFIX = "remote-exec"
CALL = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
OFF = "PYTHON_DISABLE_REMOTE_DEBUG"
_NOTHING = b"# A script of liveheap's that came too late; kept while the worker lives\n"


# System calls that go on by themselves after a stop: read, nanosleep, accept, recvfrom,
# wait4, futex, clock_nanosleep, accept4. x86-64's numbers; elsewhere nothing is known.
_DEAF = frozenset({"0", "35", "43", "45", "61", "202", "230", "288"})


class NoRemoteExec(Exception):
    """It cannot be done here; why."""


def is_possible(process: Process) -> bool:
    """Whether the worker's interpreter has it."""
    return process.python.minor >= SINCE


def call(process: Process, script: str, *, timeout_s: float) -> None:
    """Have the worker run a script at its next safe point, and bring that about.

    Raises:
        NoRemoteExec: the worker will not run it.
    """
    if sys.version_info[:2] == process.python.minor and not os.environ.get(OFF):
        try:
            getattr(sys, "remote_exec")(process.pid, script)  # noqa: B009 - 3.14+
        except (OSError, RuntimeError) as exc:
            raise NoRemoteExec(_reason(str(exc))) from exc
    else:
        _by_another(process, script, timeout_s)
    nudge(process.pid)


def is_deaf(process: Process) -> bool:
    """Whether the main thread sleeps where nothing brings it to a safe point."""
    if os.uname().machine != "x86_64":
        return False
    with contextlib.suppress(OSError):
        call = Path(f"/proc/{process.pid}/syscall").read_text("ascii").split()
        return bool(call) and call[0] in _DEAF
    return False


def _by_another(process: Process, script: str, timeout_s: float) -> None:
    """Let the worker's own interpreter do it."""
    command = [_trusted_executable(process), "-I", "-S", "-c", CALL]
    as_user: dict[str, object] = {}
    if os.geteuid() == 0 and process.uid != 0:
        as_user = {"user": process.uid, "group": process.gid, "extra_groups": []}
    try:
        done = subprocess.run(
            [*command, str(process.pid), script],
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            **as_user,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NoRemoteExec(f"{command[0]} could not be run: {exc}") from exc
    if done.returncode != 0:
        last: Sequence[str] = done.stderr.strip().splitlines() or ["no reason given"]
        raise NoRemoteExec(_reason(last[-1]))


def _trusted_executable(process: Process) -> str:
    """Return the worker's interpreter, if it is safe to run and the same for us."""
    if not process.sees_our_files:
        raise NoRemoteExec(
            f"it takes a client on Python {process.python}, or in its container"
        )
    path = os.readlink(f"/proc/{process.pid}/exe")
    try:
        status = os.stat(path)
        running = os.stat(f"/proc/{process.pid}/exe")
    except OSError as exc:
        raise NoRemoteExec(f"its interpreter is gone: {exc.strerror}") from exc
    if not os.path.samestat(status, running):
        raise NoRemoteExec("its interpreter has been replaced since it started")
    if status.st_uid not in (0, process.uid) or stat.S_IMODE(status.st_mode) & 0o022:
        raise NoRemoteExec(f"others than its user may change {path}")
    if not os.path.basename(path).startswith("python"):
        raise NoRemoteExec(f"{path} is no interpreter that could be run")
    return path


def _reason(text: str) -> str:
    if "not enabled" in text:
        return f"it is switched off in the worker ({OFF}, or -X disable-remote-debug)"
    return text[:300]


def script_name(process: Process, nonce: str) -> str:
    """Return the name of a script beside the luggage, which may have to stay."""
    return f"{PREFIX}-{process.inner_pid}-{process.start_time}-{nonce}.py"


def neutralize(home: int, name: str) -> None:
    """Make a script that may still be called do nothing; its file stays."""
    draft = f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        status = os.stat(name, dir_fd=home, follow_symlinks=False)
        descriptor = os.open(draft, flags, 0o600, dir_fd=home)
        with open(descriptor, "wb") as file:
            file.write(_NOTHING)
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.rename(draft, name, src_dir_fd=home, dst_dir_fd=home)


def clear(home: int, names: Sequence[str], way: str) -> None:
    """Remove the scripts that were replaced, once the main thread has run them."""
    if way != "ptrace":
        return
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=home)
