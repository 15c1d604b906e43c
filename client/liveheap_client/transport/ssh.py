"""The user's own ssh: its command line, and what each of its failures means.

We write no SSH. The user's configuration, agents, keys, jump hosts and host key policy
stand as they are; nothing here weakens them. Options of ours, and why:

    -T                     a terminal would mangle bytes
    BatchMode              yes without a terminal: a password prompt would hang
    ServerAlive*           a frozen link ends after 45 s instead of never
    ExitOnForwardFailure, ClearAllForwardings
                           the user's own LocalForward lines would clash
    ControlMaster=auto     the next connection costs milliseconds; the socket lies in a
                           directory only we can enter, with nobody else's files: ssh
                           would hand its streams to whoever listens there. Left out
                           if the user's configuration has a ControlPath of its own,
                           or by --no-mux, since for 120 s any process of this user
                           can reuse the login
    RemoteCommand=none     only where the configuration names one: ssh would refuse ours
    ConnectTimeout         a little before our own patience ends, so that it is ssh that
                           says what it has waited for, and ends what leads there

An ssh that will leave a master behind silences what leads to the host, the ssh to a
jump host mostly: whatever is wrong there, it says that the connection was closed. That
end is `Unexplained`; a login that shares nothing says why.

`LIVEHEAP_SSH` names another binary or adds options, as words: `ssh -F ./config`.
The remote command is one string which a remote shell reads: every word is quoted.
"""

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from liveheap_client.errors import (
    ConnectError,
    HostRefused,
    NoLiveheap,
    SSHError,
    Unexplained,
    UsageError,
)
from liveheap_client.transport.command import NOT_FOUND, Explain, last_lines
from liveheap_client.transport.sending import too_old

_CONTROL_PERSIST_S = 120
_ASK_TIMEOUT_S = 5.0
_BEFORE_OURS = 0.8
_BEFORE_OURS_S = 2.0
_LONGEST_DIRECTORY = 46

_SSH_FAILED = 255
_NOT_EXECUTABLE = 126

_NAME_IT = "name it: --remote-command /path/to/venv/bin/liveheap"

_LASTING_WORDS = (
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Permission denied",
)
_KNOWN_WORDS: tuple[tuple[str, str], ...] = (
    (
        "Host key verification failed",
        "check the host's key, then connect once with ssh itself",
    ),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "find out why before you go on"),
    ("Permission denied", "liveheap doctor HOST says which keys ssh offers"),
    ("Could not resolve hostname", "is the name right? ssh knows no such host"),
    ("Connection refused", "does an ssh server run there?"),
    ("timed out", "is the machine up and reachable?"),
    ("No route to host", "is the machine up? a cable just put back takes a moment"),
    ("open failed", "does the agent listen on that port? LIVEHEAP_TCP=127.0.0.1:PORT"),
    ("UNKNOWN port", "why is said by: ssh -o ControlPath=none HOST true"),
)
_SAYS_NOTHING = re.compile(
    r"\w+_exchange_identification: .*|Connection (closed|reset) by UNKNOWN port \d+"
    r"|mux_client_request_session: .*"
)


def command_line(
    host: str,
    command: str,
    *,
    environ: Mapping[str, str],
    connect_timeout_s: float,
    has_terminal: bool,
    multiplex: bool,
) -> list[str]:
    """Return the argument vector that runs `command` on `host`."""
    called = client_program(environ)
    options = [
        f"BatchMode={'no' if has_terminal else 'yes'}",
        f"ConnectTimeout={_connect_timeout(connect_timeout_s)}",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ExitOnForwardFailure=yes",
        "ClearAllForwardings=yes",
    ]
    configured = settings(called, host)
    if configured.get("remotecommand", "none") != "none":
        options.append("RemoteCommand=none")
    if multiplex and configured.get("controlpath", "none") == "none":
        options += _multiplexing(environ)
    words = [word for option in options for word in ("-o", option)]
    return [*called, "-T", *words, "--", host, command]


def _connect_timeout(ours_s: float) -> int:
    """Return how long ssh may wait for the host to say that it is an ssh server."""
    return max(1, round(max(ours_s * _BEFORE_OURS, ours_s - _BEFORE_OURS_S)))


def remote_command(
    arguments: Sequence[str], *, program: str | None = None, port: int | None = None
) -> str:
    """Return the one string a remote shell reads. `program` is the user's own text."""
    words = ["bridge", *arguments]
    if port is not None:
        words += ["--port", str(port)]
    return " ".join([program or "liveheap", *map(shlex.quote, words)])


def explain(host: str, *, sent: bool = False) -> Explain:
    """Return what turns the end of an ssh process into an error.

    `sent`: it was to run python3 with a program of ours, since there is no liveheap.
    """

    def from_end(code: int | None, talk: str) -> Exception:
        lines = last_lines(talk)
        if code == _SSH_FAILED:
            found = (hint for words, hint in _KNOWN_WORDS if words in talk)
            hint = next(found, "liveheap doctor HOST").replace("HOST", host)
            said = lines or ["ssh said nothing; the link may have been dropped"]
            lasts = any(words in talk for words in _LASTING_WORDS)
            kind = HostRefused if lasts else SSHError
            if "UNKNOWN port" in talk and all(map(_SAYS_NOTHING.fullmatch, lines)):
                kind = Unexplained
            return kind("\n".join([f"ssh to {host} failed", *said]), hint=hint)
        if sent and (old := too_old(f"python3 on {host}", talk)):
            return old
        if code == NOT_FOUND and sent:
            told = f"neither `liveheap` nor `python3` is on the PATH of {host}"
            return HostRefused("\n".join([told, *lines]), hint=_NAME_IT)
        if code == NOT_FOUND:
            told = f"no `liveheap` on the PATH of {host}"
            return NoLiveheap("\n".join([told, *lines]), hint=_NAME_IT)
        if code == _NOT_EXECUTABLE:
            return HostRefused(
                "\n".join([f"liveheap on {host} cannot be executed", *lines]),
                hint="name another one: --remote-command /path/to/venv/bin/liveheap",
            )
        ending = "is still running" if code is None else f"exit code {code}"
        return SSHError(
            "\n".join([f"the stream from {host} ended ({ending})", *lines]),
            hint=f"liveheap doctor {host}",
        )

    return from_end


def client_program(environ: Mapping[str, str]) -> list[str]:
    """Return what ssh is called here: LIVEHEAP_SSH, or `ssh`."""
    text = environ.get("LIVEHEAP_SSH") or "ssh"
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise UsageError(f"LIVEHEAP_SSH={text!r}: {exc}") from exc
    if not words:
        raise UsageError(f"LIVEHEAP_SSH={text!r} names no program")
    return words


def _multiplexing(environ: Mapping[str, str]) -> list[str]:
    directory = control_directory(environ)
    if directory is None or "%" in str(directory) or " " in str(directory):
        return []
    return [
        "ControlMaster=auto",
        f"ControlPath={directory}/cm-%C",
        f"ControlPersist={_CONTROL_PERSIST_S}",
    ]


def settings(program: Sequence[str], host: str) -> dict[str, str]:
    """Ask ssh what the user's configuration says for this host.

    A setting that is given several times has a line for each.
    """
    try:
        answer = subprocess.run(
            [*program, "-G", "--", host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as exc:
        raise ConnectError(
            f"cannot run {program[0]}: {exc.strerror}",
            hint="install the OpenSSH client, or set LIVEHEAP_SSH",
        ) from exc
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found: dict[str, str] = {}
    for line in answer.stdout.decode("utf-8", "replace").splitlines():
        name, blank, value = line.partition(" ")
        if blank:
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def control_directory(environ: Mapping[str, str]) -> Path | None:
    """Return our 0700 directory for control sockets; None if there can be none.

    A socket's path has at most 107 characters, and ssh binds `cm-`, a hash of 40 and
    a suffix of 17 in it first: that leaves 46 for the directory.
    """
    user = os.geteuid()
    homes = [Path(environ["HOME"], ".cache/liveheap")] if environ.get("HOME") else []
    for directory in [
        *homes,
        Path(f"/run/user/{user}/liveheap"),
        Path(f"/tmp/liveheap-{user}"),
    ]:
        if len(str(directory)) <= _LONGEST_DIRECTORY and _is_private(directory):
            return directory
    return None


def _is_private(directory: Path) -> bool:
    """Make the directory if need be; return whether it, and all in it, is only ours."""
    try:
        directory.mkdir(mode=0o700, parents=directory.parts[1] != "run", exist_ok=True)
        found = os.lstat(directory)
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        return False
    return found.st_uid == os.geteuid() and all(map(_is_ours, directory.glob("cm-*")))


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except FileNotFoundError:  # its master has ended this moment
        return True
