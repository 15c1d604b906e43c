"""A worker full of planted secrets: in every kind of place where a value can stand.

Each holds the word SECRET9, which the program's text must not hold: what stands in the
source is program text and may leave under scope graph. So the word is put together
here, and the tests look for it in everything that leaves.

Data that a program turns into a name of its own is a name (SECURITY.md says so). That
is planted too, by the word NAMED9, and so are secrets below names which not even scope
values lets out, by the word GUARDED9.
"""

import array
import asyncio
import collections
import contextlib
import contextvars
import enum
import functools
import io
import json
import logging
import mmap
import os
import queue
import re
import socket
import sys
import threading
import types
from dataclasses import dataclass, field

import gevent
import stage

MARK = "".join(chr(code) for code in (83, 69, 67, 82, 69, 84, 57))
NAMED = "".join(chr(code) for code in (78, 65, 77, 69, 68, 57))
GUARDED = "".join(chr(code) for code in (71, 85, 65, 82, 68, 69, 68, 57))


def secret(kind: str) -> str:
    """A new string object, not the same one twice."""
    return f"{MARK}_{kind}"


def guarded(kind: str) -> str:
    """The same for what lies below a name that is never followed by its value."""
    return f"{GUARDED}_{kind}"


@dataclass
class Account:
    owner: str
    headers: dict
    notes: list = field(default_factory=lambda: [secret("field")])
    password: str = field(default_factory=lambda: guarded("attribute"))


class Slotted:
    __slots__ = ("token",)


Point = collections.namedtuple("Point", ["left", "right"])
CONTEXT = contextvars.ContextVar("CONTEXT")
SHELF = {
    "by key": {secret("key"): 1, secret("interned") and sys.intern(secret("in")): 2},
    "identifier": {f"{MARK}abc": 1, sys.intern(f"{MARK}def"): 2},
    "bytes": {MARK.encode() + b"-bytes": MARK.encode() + b"-more"},
    "tuple key": {(secret("part"), 1): [secret("element")]},
    "set": {secret("member"), frozenset([secret("frozen")])},
    "account": Account(secret("attribute"), {f"X-{MARK}": secret("header")}),
    "slot": Slotted(),
    "point": Point(secret("left"), secret("right")),
    "counter": collections.Counter([secret("counted")]),
    "ordered": collections.OrderedDict([(secret("ordered"), 1)]),
    "default": collections.defaultdict(list, {secret("default"): []}),
    "deque": collections.deque([secret("deque")]),
    "array": bytearray(MARK.encode()),
    "view": memoryview(MARK.encode() + b"-view"),
}
SHELF["slot"].token = guarded("slot")
CONTEXT.set(secret("context"))
LOCAL = threading.local()
LOCAL.value = secret("thread-local")
os.environ["PLANTED"] = secret("environ")


def closure():
    kept = secret("cell")

    def function(default=secret("argument")):  # noqa: B008
        return kept, default

    return function


def generator():
    waiting = secret("generator")
    yield
    return waiting


def failing():
    message = secret("local-of-a-traceback")
    raise ValueError(secret("exception") + message)


FUNCTION, GENERATOR = closure(), generator()
next(GENERATOR)
try:
    failing()
except ValueError as exc:
    KEPT_ERROR = exc
STOP = threading.Event()


class Colour(enum.Enum):
    RED = secret("enum")


class Secretive:
    """Keeps quiet."""

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        raise ValueError(secret("repr"))


@functools.cache
def remembered(key):
    return [secret("lru-value"), key]


class Shelf(dict):
    """A dict with attributes."""


def records() -> list[logging.LogRecord]:
    """What a logging handler that keeps records would hold."""
    name = secret("logger")
    logging.getLogger(name)
    args = ({"user": secret("log-argument")},)
    return [logging.LogRecord(name, 20, secret("log-path"), 1, "%s", args, None)]


def mapped() -> mmap.mmap:
    """A mapped file whose name is a secret."""
    with open(secret("mapped"), "w+b") as file:
        file.write(b"x" * mmap.PAGESIZE)
        file.flush()
        return mmap.mmap(file.fileno(), 0)


def listening() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0{secret('socket')}-{os.getpid()}")
    sock.listen()
    return sock


remembered(secret("lru-key"))
remembered(secret("lru-identifier").replace("-", "_"))
DOCUMENTED = types.FunctionType(Secretive.__init__.__code__, {}, secret("function"))
DOCUMENTED.__doc__ = secret("doc")
DOCUMENTED.__kwdefaults__ = {"inner": secret("kwdefault")}
QUEUE = queue.SimpleQueue()
QUEUE.put(secret("queue"))
LOOP_TASKS = asyncio.Queue()
LOOP_TASKS.put_nowait(secret("asyncio-queue"))
HELD = {
    "enum": Colour.RED,
    "secretive": Secretive(secret("inner")),
    "shelf": Shelf({secret("subclass-key"): secret("subclass-value")}),
    "json": json.loads(json.dumps({secret("json"): {f"{MARK}json": 1}})),
    "regex": re.compile(secret("regex")),
    "match": re.match("(.*)", secret("match")),
    "compiled": compile(f"x = {secret('constant')!r}", "<made>", "exec"),
    "stringio": io.StringIO(secret("stringio")),
    "bytesio": io.BytesIO(MARK.encode()),
    "array": array.array("u" if sys.version_info < (3, 13) else "w", secret("array")),
    "proxy": types.MappingProxyType({secret("proxy"): 1}),
    "space": types.SimpleNamespace(name=secret("namespace")),
    "partial": functools.partial(print, secret("partial")),
    "method": secret("method").upper,
    "exception": OSError(2, secret("strerror"), secret("filename")),
    "variable": contextvars.ContextVar(secret("variable")),
    "module": types.ModuleType(secret("module"), secret("module-doc")),
    "logs": records(),
    "mapped": mapped(),
    "listening": listening(),
    "path": __import__("pathlib").Path(secret("path")),
    "template": __import__("string").Template(secret("template")),
    "iterator": iter([secret("iterator")]),
    "chain": collections.ChainMap({secret("chain"): 1}),
    "number": int.from_bytes(MARK.encode(), "big"),
    "complex": (1.5, 2j, secret("beside-numbers")),
    "wide": secret("wide") + "\u2603",
    "very wide": secret("very-wide") + "\U0001f40d",
}
HELD["exception"].__notes__ = [secret("note")]
with contextlib.suppress(ImportError):
    import numpy

    HELD["numpy"] = numpy.array([secret("numpy")], dtype=object)
    HELD["numpy text"] = numpy.array([secret("numpy-text")])

GUARDS = {
    "api_key": guarded("api-key"),
    "cookies": {"sid": guarded("cookie"), guarded("cookie-key"): 1},
    f"{MARK}-Auth": [guarded("list"), (guarded("tuple"), {guarded("deep")})],
    b"Authorization": guarded("bytes-name").encode(),
    "headers": [(b"cookie", guarded("pair").encode()), ("Set-Cookie", guarded("set"))],
    "text": f"password={guarded('in-text')}",
    "url": f"postgres://me:{guarded('url')}@db/x",
    "deque": collections.deque([{"auth": collections.deque([guarded("deque")])}]),
}


class Credentials:
    def __init__(self):
        self.who = guarded("instance")
        self.more = {"pin": [guarded("instance-deep")]}


class LoginToken(str):
    """A text whose type says what it is."""


GUARDED_BY_TYPE = [Credentials(), LoginToken(guarded("subclass"))]
SESSIONS = {guarded("session-id"): {"user": guarded("session-user")}}


def closing_over(password):
    return lambda: password


CLOSED = closing_over(guarded("closure"))


def lend_names() -> object:
    """Turn data into names, as a program may: attributes, globals, types, functions."""
    bag = Account(1, {})
    setattr(bag, f"{NAMED}_attribute", 1)
    vars(bag).update({f"{NAMED}_vars": 1})
    globals()[f"{NAMED}_global"] = 1
    kind = type(f"{NAMED}_type", (), {f"{NAMED}_member": 1})
    space: dict = {}
    exec(compile(f"def {NAMED}_function(): pass", f"/{NAMED}_file.py", "exec"), space)
    return bag, kind(), space


BAG = lend_names()


def wait_in_thread(payload, session_id):
    mine, password = secret("local-of-a-thread"), guarded("local")
    STOP.wait()
    return mine, payload, password, session_id


threading.Thread(
    target=wait_in_thread,
    args=(secret("task"), guarded("argument")),
    name=secret("thread"),
    daemon=True,
).start()


def wait_in_greenlet(payload):
    mine = secret("local-of-a-greenlet")
    gevent.sleep(3600)
    return mine, payload


GREENLET = gevent.spawn(wait_in_greenlet, secret("greenlet"))
GREENLET.name = secret("greenlet-name")
gevent.sleep(0)
with contextlib.suppress(OSError):
    open(secret("file"), "w").close()
OPENED = open(secret("file"), encoding="utf-8")  # noqa: SIM115


def explode(*_: object) -> None:
    raise ValueError(secret("bug"))


stage.start_agent()
if "FAULTY" in os.environ:
    from liveheap.agent import context

    context.AgentContext.figures = explode
stage.ready()
stage.until_stdin_closes()
