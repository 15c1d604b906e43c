"""A process that may get an agent, as /proc shows it from outside; and why not.

Looked at before anything is touched: most of what forbids an injection shows here, and
is said in words with what to do about it. A process that passes may still refuse.

The interpreter's version is in the names of the files that are mapped: libpython, the
executable, or extension modules. Its own word comes later, from the script that runs in
it (bootstrap.py), which is the one that decides.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from liveheap import registry
from liveheap_client.errors import InjectError
from liveheap_client.inside import sees_other_files, status_of

OLDEST, NEWEST = (3, 10), (3, 15)
_VERSION = r"3\.(?P<minor>\d+)(?P<threads>t?)(?P<debug>d?)"
_SIGNS = (
    re.compile(rf"/libpython{_VERSION}\.so"),
    re.compile(rf"/python{_VERSION}$"),
    re.compile(r"\.cpython-3(?P<minor>\d+)(?P<threads>t?)(?P<debug>d?)-[^/]*\.so$"),
    re.compile(rf"/python{_VERSION}/lib-dynload/"),
)
_DELETED = " (deleted)"
_LOOKS_LIKE_PYTHON = re.compile(r"/(python[\d.]*|pypy[\d.]*|uwsgi)$")


class NotPython(InjectError):
    """Another kind of program altogether."""


@dataclass(frozen=True, slots=True)
class Python:
    """The interpreter of a process, as far as it shows from outside."""

    minor: tuple[int, int]
    free_threaded: bool = False
    debug: bool = False

    def __str__(self) -> str:
        return f"{self.minor[0]}.{self.minor[1]}"

    @property
    def tag(self) -> str:
        """The part of a file name that marks its extension modules."""
        marks = ("t" if self.free_threaded else "") + ("d" if self.debug else "")
        return f"cpython-{self.minor[0]}{self.minor[1]}{marks}-"


@dataclass(frozen=True, slots=True)
class Process:
    """A live Python process that may be touched, as far as one can tell."""

    pid: int
    inner_pid: int
    """Its number in its own pid namespace."""
    uid: int
    gid: int
    start_time: int
    program: str
    python: Python

    @property
    def root(self) -> str:
        """Where its own `/` is."""
        return f"/proc/{self.pid}/root"

    @property
    def sees_our_files(self) -> bool:
        """Whether paths mean the same to it as to us."""
        return not sees_other_files(self.pid)

    @property
    def sees_our_pids(self) -> bool:
        """Whether numbers of processes mean the same to it as to us."""
        return _namespace(self.pid, "pid") == _namespace("self", "pid")

    def is_there(self) -> bool:
        """Whether it is still the process that was looked at."""
        return registry.start_time(self.pid) == self.start_time

    def environ(self) -> dict[str, str]:
        """Return the environment that it was started with; {} if it may not be read."""
        try:
            raw = Path(f"/proc/{self.pid}/environ").read_bytes()
        except OSError:
            return {}
        pairs = (os.fsdecode(each).partition("=") for each in raw.split(b"\0"))
        return {name: value for name, _, value in pairs if name}

    def has_its_own(self) -> bool:
        """Whether a liveheap that can do this seems to be installed for it."""
        environ = self.environ()
        folders = environ.get("PYTHONPATH", "").split(":")
        for prefix in filter(None, (environ.get("VIRTUAL_ENV"), _prefix_of(self.pid))):
            folders.append(f"{prefix}/lib/python{self.python}/site-packages")
            folders.append(f"{prefix}/lib/python3/dist-packages")
        return any(
            os.path.exists(f"{self.root}{folder}/liveheap/agent/injected.py")
            for folder in folders
            if folder.startswith("/")
        )


def _prefix_of(pid: int) -> str:
    """Return where the interpreter that was started is installed, a venv or not."""
    with contextlib.suppress(OSError):
        first = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        path = os.fsdecode(first)
        if path.startswith("/") and "/bin/" in path:
            return path.rpartition("/bin/")[0]
    return ""


def look(pid: int) -> Process:
    """Return what may get an agent.

    Raises:
        InjectError: there is no such process, or it cannot get one, and why.
    """
    status = status_of(pid)
    began = registry.start_time(pid)
    if status is None or began is None:
        raise InjectError(f"no process {pid} here", hint="liveheap ps")
    _refuse_by_state(pid, status)
    uid, gid = (int(status[name].split()[1]) for name in ("Uid", "Gid"))
    _refuse_by_owner(pid, uid)
    return Process(
        pid=pid,
        inner_pid=int(status.get("NSpid", str(pid)).split()[-1]),
        uid=uid,
        gid=gid,
        start_time=began,
        program=_program(pid),
        python=_supported(pid, python_of(pid)),
    )


def refuse_if_halted(process: Process) -> None:
    """Raise InjectError if the process has ended or stands still."""
    status = status_of(process.pid)
    if status is None or not process.is_there():
        raise gone(process.pid)
    _refuse_by_state(process.pid, {**status, "TracerPid": "0"})  # that may be we


def gone(pid: int) -> InjectError:
    """Return the error for a process that ended while it was worked on."""
    return InjectError(f"process {pid} has ended meanwhile", hint="liveheap ps")


def _refuse_by_state(pid: int, status: Mapping[str, str]) -> None:
    leader = int(status.get("Tgid", pid))
    if leader != pid:
        raise InjectError(
            f"{pid} is a thread of process {leader}", hint=f"liveheap inject {leader}"
        )
    state = status.get("State", "?")[0]
    if state in "ZX":
        raise InjectError(f"process {pid} has ended (a zombie)", hint="liveheap ps")
    tracer = int(status.get("TracerPid", "0"))
    if tracer:
        raise InjectError(
            f"process {pid} is being traced already, by {tracer} ({_program(tracer)})",
            hint="end the debugger, profiler or strace that is attached to it",
        )
    if state == "T":
        raise InjectError(
            f"process {pid} is stopped (SIGSTOP)",
            hint=f"let it go on first: kill -CONT {pid}",
        )


def _refuse_by_owner(pid: int, uid: int) -> None:
    if os.geteuid() not in (0, uid):
        raise InjectError(
            f"process {pid} belongs to another user (uid {uid})",
            hint=f"sudo liveheap inject {pid}, or as that user",
        )


def python_of(pid: int) -> Python:
    """Return the interpreter of a process, whether or not it is one that we know.

    Raises:
        InjectError: it shows none, or may not be looked into.
    """
    paths = list(_mapped(pid))
    for sign in _SIGNS:
        for path in paths:
            found = sign.search(path)
            if found is not None:
                return Python(
                    (3, int(found["minor"])),
                    free_threaded=bool(found["threads"]),
                    debug=bool(found["debug"]),
                )
    if any(_LOOKS_LIKE_PYTHON.search(path) for path in paths):
        raise InjectError(
            f"process {pid} runs a Python whose version does not show",
            hint="start the agent in it: liveheap run -- CMD",
        )
    raise NotPython(
        f"process {pid} ({_program(pid)}) is no CPython process",
        hint="liveheap attaches to CPython 3.10 to 3.15",
    )


def _supported(pid: int, python: Python) -> Python:
    if python.free_threaded:
        raise InjectError(
            f"process {pid} runs a free-threaded Python {python}: not supported",
            hint="liveheap reads interpreters that have a GIL",
        )
    if not OLDEST <= python.minor <= NEWEST:
        raise InjectError(
            f"process {pid} runs Python {python}, which this liveheap does not know",
            hint="it reads CPython 3.10 to 3.15",
        )
    return python


def _mapped(pid: int) -> Iterator[str]:
    """Yield the executable and every file that is mapped, as the process names them."""
    try:
        yield os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED)
        lines = Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape")
    except (FileNotFoundError, ProcessLookupError) as exc:
        if registry.start_time(pid) is None:
            raise gone(pid) from exc
        raise InjectError(
            f"process {pid} is one of the kernel's own", hint="liveheap ps"
        ) from exc
    except PermissionError as exc:
        raise forbidden(pid) from exc
    seen = set()
    for line in lines.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/") and fields[5] not in seen:
            seen.add(fields[5])
            yield fields[5].removesuffix(_DELETED)


def forbidden(pid: int) -> InjectError:
    """Return the error for a process that we may not look into: who forbids it."""
    ours = status_of("self") or {}
    may_trace = int(ours.get("CapEff", "0"), 16) >> 19 & 1
    yama = _number("/proc/sys/kernel/yama/ptrace_scope")
    if yama == 3:
        reason = "this kernel allows no process to trace another (Yama 3)"
        hint = "kernel.yama.ptrace_scope=3 holds until the next boot"
    elif yama and not may_trace:
        reason = f"Yama (ptrace_scope {yama}) wants the capability SYS_PTRACE for that"
        hint = f"sudo liveheap inject {pid}, or sysctl kernel.yama.ptrace_scope=0"
    elif not may_trace and _owner(pid) != os.geteuid():
        reason = "it may not be looked into: it has more rights, or is not dumpable"
        hint = f"sudo liveheap inject {pid}"
    elif int(ours.get("Seccomp", "0")):
        reason = "a seccomp filter of this container or unit forbids it"
        hint = "docker run --cap-add SYS_PTRACE, or inject from the host"
    elif not may_trace:
        reason = "the capability SYS_PTRACE is missing here"
        hint = "docker run --cap-add SYS_PTRACE, or inject from the host"
    else:
        reason = "a security module (SELinux, AppArmor) may forbid it"
        hint = "its log may say so: dmesg, or ausearch -m avc"
    return InjectError(f"process {pid} cannot be traced: {reason}", hint=hint)


def _program(pid: int) -> str:
    """Return the kernel's name of a process: it cannot hold a secret argument."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "?"


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text("ascii"))
    except (OSError, ValueError):
        return None


def _namespace(pid: int | str, kind: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None
