"""What stands in for `liveheap bridge` where no login's PATH leads to a liveheap.

It often lies in the environment of the application alone, but a python3 is on every
server. So the client sends it this file and relay.py over the stream (sending.py), and
they do what a bridge does: find the worker's socket with the user's own permissions,
read the token, shake hands, say on stdout who answers, and relay. No token leaves the
machine, this way either.

Written for Python 3.6, the oldest that servers still have, with nothing but its
standard library: hence annotations are quoted, and the rules of liveheap's registry,
tokens and handshake stand here once more, in short. Tests hold the two to each other,
and this file to the grammar of 3.6. It is long because what is sent is one text. Left
to a real bridge: other users' workers, containers, and what each worker runs.
"""

import hashlib
import hmac
import json
import os
import re
import socket
import stat
import struct

from liveheap_client.transport.relay import BRIDGE_VERSION, MAGIC, greet, relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCOPES = (b"read", b"graph", b"values", b"exec")
SALT = b"liveheap/1"
M1 = struct.Struct("<8sBBHI32s")  # magic, version, scope, key id, expiry, nonce
M2_HEAD = struct.Struct("<8sBBH32s")  # magic, version, status, length of ident, nonce
M4_HEAD = struct.Struct("<BBH8s")  # accepted, scope, flags, session
PROOF_BYTES = TOKEN_BYTES = 32
MAX_IDENT = 512
MAX_FACTS_BYTES = 1 << 16
MAX_SOCKET_PATH = 107
DEEPEST = 64

ENTRY_NAME = re.compile(r"([1-9][0-9]{0,9})-([0-9]{1,20})\.sock", re.ASCII)
READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class No(Exception):
    """Why there is no session, as the greeting says it."""

    def __init__(
        self,
        error: str,
        message: str,
        hint: "str | None" = None,
        code: "str | None" = None,
    ) -> None:
        super().__init__(message)
        self.fields = {
            "bridge": BRIDGE_VERSION,
            "error": error,
            "code": code,
            "message": message,
            "hint": hint,
        }


def serve(errand: "dict[str, Any]") -> None:
    """Do what the client sent it for: list the workers, or lead to one of them."""
    try:
        if errand["listing"]:
            greet({"bridge": BRIDGE_VERSION, "workers": in_families(workers())})
            return
        connected, fields = session(errand)
    except No as no:
        greet(no.fields)
        return
    except OSError as exc:
        greet(No("connect", exc.strerror or str(exc)).fields)
        return
    greet(fields)
    relay(connected, b"")


def session(errand: "dict[str, Any]") -> "tuple[socket.socket, dict[str, Any]]":
    """Connect to the worker that is wanted; return the stream and the greeting."""
    expected = run_dir = None
    if errand.get("port"):
        connected = connect(socket.AF_INET, ("127.0.0.1", errand["port"]), errand)
    else:
        worker = chosen(workers(), errand.get("pid"), errand.get("name"))
        path = str(worker["socket"])
        expected = (str(worker["pid"]), str(worker["start_time"]))
        run_dir = os.path.dirname(path)
        connected = connect_to(path, errand)
    if errand["raw"]:
        return connected, raw_greeting(expected)
    token = find_token(run_dir)
    try:
        fields = shake(connected, token, errand, expected)
    except BlockingIOError:
        raise No(
            "not-answering", "not answering: the GIL may be held by a long call"
        ) from None
    except ConnectionError:
        raise No(
            "authentication", "the agent closed during the handshake", code="closed"
        ) from None
    if errand.get("pid"):
        fields["pid"] = errand["pid"]
    fields["told"] = told()
    return connected, fields


def raw_greeting(expected: "tuple[str, str] | None") -> "dict[str, Any]":
    """Return the line that says who was found, for a handshake at the other end."""
    fields = {"bridge": BRIDGE_VERSION, "raw": True}  # type: dict[str, Any]
    if expected is not None:
        pid, began = map(int, expected)
        fields.update(pid=pid, expect_pid=pid, expect_start=began)
    return fields


def told() -> "dict[str, str]":
    """Return what this machine's environment says of who asks, for the audit log."""
    found = {
        "ssh": os.environ.get("SSH_CONNECTION"),
        "user": os.environ.get("LOGNAME") or os.environ.get("USER"),
        "sudo": os.environ.get("SUDO_USER"),
    }
    return {word: text for word, text in found.items() if text}


def connect_to(path: str, errand: "dict[str, Any]") -> socket.socket:
    """Connect to a socket of ours, however long its path is."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return connect(socket.AF_UNIX, path, errand)
    directory, name = os.path.split(path)
    held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return connect(socket.AF_UNIX, f"/proc/self/fd/{held}/{name}", errand)
    finally:
        os.close(held)


def connect(family: int, address: "Any", errand: "dict[str, Any]") -> socket.socket:
    """Connect within the errand's time, the kernel's way: it also waits for a queue."""
    connected = socket.socket(family, socket.SOCK_STREAM)
    limit = struct.pack("ll", int(str(errand["timeout_s"])), 0)
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connected.setsockopt(socket.SOL_SOCKET, option, limit)
    try:
        connected.connect(address)
    except BlockingIOError:
        raise No("not-answering", "the agent accepts no connection") from None
    except OSError as exc:
        where = address if family == socket.AF_UNIX else f"port {address[1]}"
        raise No("connect", f"nobody listens at {where}: {exc.strerror}") from None
    return connected


def shake(
    connected: socket.socket,
    token: bytes,
    errand: "dict[str, Any]",
    expected: "tuple[str, str] | None",
) -> "dict[str, Any]":
    """Prove who is who; return the greeting that says so."""
    lowest, highest = errand["protocols"]
    scope = errand["scope"]
    key = scope_key(token, scope)
    m1 = M1.pack(MAGIC, highest, scope, 0, 0, os.urandom(32))
    connected.sendall(m1)
    m2 = exactly(connected, M2_HEAD.size)
    magic, version, status, length, _ = M2_HEAD.unpack(m2)
    if magic != MAGIC or length > MAX_IDENT:
        raise not_genuine("not-liveheap", "the other end is not a liveheap agent")
    if status:
        raise refused(errand, status, version)
    ident = exactly(connected, length)
    m2 += ident
    proof = exactly(connected, PROOF_BYTES)
    if not hmac.compare_digest(proof, mac(key, b"liveheap/1 srv\0" + m1 + m2)):
        raise not_genuine(
            "not-genuine",
            "the agent does not hold this token: not genuine, or another user's",
        )
    m2 += proof
    if not lowest <= version <= highest:
        raise not_genuine("version", f"the agent speaks protocol {version}")
    who = ident.decode("utf-8", "replace")
    if expected is not None and tuple(who.split(":")[-3:-1]) != expected:
        raise not_genuine("wrong-worker", f"another process answers: {who}")
    m3 = mac(key, b"liveheap/1 cli\0" + m1 + m2)
    connected.sendall(m3)
    head = exactly(connected, M4_HEAD.size)
    proof = exactly(connected, PROOF_BYTES)
    accepted, granted, _, number = M4_HEAD.unpack(head)
    genuine = mac(key, b"liveheap/1 fin\0" + m1 + m2 + m3 + head)
    if not hmac.compare_digest(proof, genuine):
        raise not_genuine("not-genuine", "the agent's last word has a wrong proof")
    if accepted != 1 or granted != scope:
        raise not_genuine("refused", "the agent refused the proof")
    return {
        "bridge": BRIDGE_VERSION,
        "ident": who,
        "scope": granted,
        "version": version,
        "session": number.hex(),
    }


def refused(errand: "dict[str, Any]", status: int, version: int) -> No:
    """Return what the client calls an agent's refusal; it sent the words along."""
    words = errand["refusals"].get(str(status))
    if words is None:
        return not_genuine("refused", f"the agent answered with status {status}")
    code, message, hint = words
    told = message.replace("{agent}", str(version))
    return No("authentication", told, hint=hint, code=code)


def not_genuine(code: str, message: str) -> No:
    return No("authentication", message, code=code)


def exactly(connected: socket.socket, length: int) -> bytes:
    """Read that many bytes and none beyond them: the next ones are frames."""
    data = b""
    while len(data) < length:
        more = connected.recv(length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def scope_key(token: bytes, scope: int) -> bytes:
    """Derive a scope's key from the token, down the chain (PROTOCOL.md)."""
    key = token
    for name in reversed(SCOPES[scope - 1 :]):
        key = mac(mac(SALT, key), name + b"\x01")
    return key


def find_token(run_dir: "str | None") -> bytes:
    """Read the token from the first place that has one; an unfit file is an error."""
    places = [] if run_dir is None else [run_dir]
    files = [os.path.join(place, "token") for place in places + directories()]
    home = os.environ.get("HOME")
    if home:
        files.append(os.path.join(home, ".config", "liveheap", "token"))
    named = os.environ.get("LIVEHEAP_TOKEN_FILE")
    for path in [named] if named else files:
        try:
            descriptor = os.open(path, READ_ONLY)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise no_token(f"{path} cannot be opened: {exc.strerror}") from None
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise no_token(f"{path} is not a file of this user's")
            if found.st_mode & 0o077:
                raise no_token(f"{path} can be read by others")
            token = file.read(TOKEN_BYTES + 1)
        if len(token) != TOKEN_BYTES:
            raise no_token(f"{path} holds no token")
        return token
    raise no_token("there is no token: no agent of this user has run here")


def no_token(message: str) -> No:
    return No("authentication", message, code="token")


def directories() -> "list[str]":
    """Return where agents of this user put their sockets, in order of search."""
    user = os.geteuid()
    chosen_one = os.environ.get("LIVEHEAP_DIR")
    if chosen_one:
        candidates = [os.path.abspath(chosen_one)]
    else:
        candidates = [f"/run/user/{user}/liveheap", f"/tmp/liveheap-{user}"]
        others = [n for n in listed("/tmp") if n.startswith(f"liveheap-{user}-")]
        candidates += [os.path.join("/tmp", name) for name in others]
    return [path for path in candidates if is_private(path)]


def listed(path: str) -> "list[str]":
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def is_private(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and stat.S_IMODE(found.st_mode) == 0o700


def workers() -> "list[dict[str, Any]]":
    """Return this user's workers that have an agent, by pid: what is known of each."""
    found = {}
    here = os.stat("/proc/self/ns/pid").st_ino
    with open("/proc/uptime") as file:
        now = float(file.read().split()[0])
    for directory in directories():
        for name in listed(directory):
            match = ENTRY_NAME.fullmatch(name)
            path = os.path.join(directory, name)
            if match is None or not is_socket(path):
                continue
            pid, began = int(match.group(1)), int(match.group(2))
            fields = process(pid)
            facts = facts_in(path[: -len("sock")] + "json")
            if fields is None or int(fields[19]) != began or fields[0] == "Z":
                continue
            if facts.get("pid_namespace", here) != here or (pid, began) in found:
                continue
            rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            settled = facts.get("settled_rss")
            found[pid, began] = dict(
                facts,
                pid=pid,
                start_time=began,
                socket=path,
                uid=os.geteuid(),
                rss=rss,
                uptime=max(0.0, now - began / os.sysconf("SC_CLK_TCK")),
                grown=rss - settled if isinstance(settled, int) else None,
                state="stopped" if fields[0] in "Tt" else None,
            )
    return [found[key] for key in sorted(found)]


def is_socket(path: str) -> bool:
    """Return whether a socket of ours is there, and no link to one."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()


def facts_in(path: str) -> "dict[str, Any]":
    """Read what a worker says of itself; whatever is wrong with it, that is nothing."""
    try:
        with open(os.open(path, READ_ONLY), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                return {}
            facts = json.loads(file.read(MAX_FACTS_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def process(pid: int) -> "list[str] | None":
    """Return what stands in /proc/PID/stat behind the name; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return fields if len(fields) > 21 else None


def in_families(found: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Add to each worker whom it comes from, and which of the others is nearest."""
    pids = [worker["pid"] for worker in found]
    for worker in found:
        line = []  # type: list[int]
        fields = process(worker["pid"])
        while fields is not None and int(fields[1]) > 1 and len(line) < DEEPEST:
            line.append(int(fields[1]))
            fields = process(line[-1])
        worker["ancestors"] = line
        worker["parent"] = next((pid for pid in line if pid in pids), None)
    return found


def chosen(
    found: "list[dict[str, Any]]", pid: "int | None", name: "str | None"
) -> "dict[str, Any]":
    """Return the worker that is meant; an error lists those that may be."""
    if pid:
        meant = [worker for worker in found if worker["pid"] == pid]
    elif name:
        meant = [worker for worker in found if name in names(worker)]
    else:
        meant = found
    if len(meant) == 1:
        return meant[0]
    if meant:
        lines = "\n".join(f"{one['pid']} {title(one)}" for one in meant[:20])
        raise No("choose", f"{len(meant)} workers to choose from:\n{lines}")
    if pid:
        told = f"process {pid} is no worker of this user's with a liveheap agent"
    elif name:
        told = f"no worker of this user's is called {name!r}"
    else:
        told = "no worker of this user's has a liveheap agent"
    raise No(
        "connect",
        told,
        hint="another user's: log in as that user; in a container: --via, or put "
        "liveheap on the PATH there",
    )


def names(worker: "dict[str, Any]") -> "set[str]":
    """Return what a worker may be called by: its name, its program, its first word."""
    program = str(worker.get("program") or "")
    first = program.split()[:1]
    found = {program, str(worker.get("name") or "")}
    return found.union(first, map(os.path.basename, first)) - {""}


def title(worker: "dict[str, Any]") -> str:
    return str(worker.get("name") or worker.get("program") or "?")
