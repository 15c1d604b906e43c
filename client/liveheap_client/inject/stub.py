"""The machine code that a worker's main thread executes for us, and its data.

The code is csrc/stub.S, which says what it does; here it stands assembled, so that a
bare server needs no assembler. A test assembles it again and compares, offsets
included.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass

# Where things are in the code, counted from its data's start.
ENTER = 304
ENTERED = 306
FILLED = 357
NO_ERRNO = 730
THUNK = 735
BODY = 807

# What to do: in r12 when the thread enters.
ONLY_SYSCALL, DIRECT, PENDING = range(3)

FUNCTIONS = (
    "Py_AddPendingCall",
    "PyThread_start_new_thread",
    "Py_IsInitialized",
    "PyGILState_Check",
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyRun_SimpleString",
    "PyErr_Fetch",
    "PyErr_Restore",
)
ERRNO = "__errno_location"
REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rcx", "rdx", "rsi", "rdi", "eflags", "rsp"),
)
MAGIC = b"lvheap\x01\n"
# Those components that compiled code uses: x87, SSE, AVX, AVX-512, APX.
XSAVE_MASK = 0x800E7

_DATA = struct.Struct(f"<8s6Q{len(FUNCTIONS)}QQ{len(REGISTERS)}Q4QII")
_CODE = base64.b64decode(
    "DwVFheQPhLwAAABIPQDw//8Ph7AAAABIicODOwB1FkiJ30iLNbf+//+4CwAAAA8F6ZIAAACLBcX+"
    "//8x0oXAdAdID65jQOsFSA+uQ0Db4w+uFaL/////FfT+//9JicVEizBBg/wBdRqDeyQAdQr/Faz+"
    "//+FwHUKSInf6C8BAADrIkiNPSYBAABIid7/FXb+//+5AQAAALoCAAAAhcAPRcqJSxxFiXUAiwVS"
    "/v//MdKFwHQHSA+ua0DrBUgPrktAx0MoAAAAAEUx/0iDPR7+//8AdB5Ig+wQSInnvggAAAC4fwAA"
    "AA8FTIs8JEwjPf79//+/AgAAAEiNNer9//8x0kG6CAAAALgOAAAADwVNhf9Miz1B/v//TIs1Qv7/"
    "/0yLLUP+//9MiyVE/v//SIstRf7//0iLHUb+//9Mix1H/v//TIsVSP7//0yLDUn+//9MiwVK/v//"
    "SIsNS/7//0iLFUz+//9IizVN/v//SIs9Tv7//3Ub/zVO/v//nUiLBVb+//9IiyVH/v///yVR/v//"
    "/zUz/v//nUiLBUv+//9IiyUs/v///yVG/v//SI1DLMNTSIn7uCcAAAAPBTtDIHUwuAEAAACHQwSF"
    "wHUkg3skAHUKSInf6B4AAADrFEiNPRUAAABIid7/FSX9//9IiUMQ8P9DMDHAW8NTQVRIg+woSIn7"
    "uLoAAAAPBYlDGL8AAAAASI014fz//0iNFCRBuggAAAC4DgAAAA8FQbwDAAAA/xXk/P//hcB0Wf8V"
    "6vz//0GJxMdDCAEAAABIjXwkCEiNdCQQSI1UJBj/FeP8//9IjbsACwAA/xXO/P//iUMMSIt8JAhI"
    "i3QkEEiLVCQY/xXG/P//RInn/xWl/P//QbwCAAAAvwIAAABIjTQkMdJBuggAAAC4DgAAAA8FRIlj"
    "CEiDxChBXFvD"
)
SIZE = _DATA.size + len(_CODE)

# The page.
PAGE = 4096
_HEAD = struct.Struct("<IIIiQIIIIIIIIQ")
HEAD_BYTES = _HEAD.size
_READY = 0x6C68656C
INSIDE_AT, EXPECTED_AT = 40, 52
TEXT = 2816
ERROR_BYTES = 512
BEGAN, DONE, NOT_INITIALIZED = 1, 2, 3
QUEUED, QUEUE_FULL = 1, 2
NO_THREAD = 0xFFFFFFFFFFFFFFFF

# Runs in a namespace of its own, and lets nothing out. The only way to say what went
# wrong is the page itself.
_SCRIPT = """\
import os
try:
    exec(compile({code}, '<liveheap>', 'exec'), {{'__name__': '__liveheap__'}})
except BaseException as error:
    try:
        text = ascii(type(error).__name__ + ': ' + str(error))[1:-1]
        memory = os.open('/proc/self/mem', os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(memory, text[:{room}].encode(), {address})
        finally:
            os.close(memory)
    except BaseException:
        pass
"""


@dataclass(frozen=True, slots=True)
class Resume:
    """How the thread goes on: rax and rip."""

    rax: int
    rip: int


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says of how far things are."""

    is_ours: bool
    claimed: int
    stage: int
    result: int
    thread: int
    tid: int
    queued: int
    inside: bool
    returned: int
    expected: int
    n_bytes: int

    @property
    def has_failed(self) -> bool:
        """Whether it will never run."""
        was_full = self.queued == QUEUE_FULL and not self.claimed
        return self.thread == NO_THREAD or (was_full and self.expected == 1)

    @property
    def is_over(self) -> bool:
        """Whether nobody will come by here any more."""
        return (
            self.stage in (DONE, NOT_INITIALIZED)
            and not self.inside
            and self.returned == self.expected
        )


def cave(
    *,
    at: int,
    functions: Mapping[str, int],
    page: int,
    page_bytes: int,
    masks: tuple[int, int, int],
    xsave: bool,
    registers: Mapping[str, int],
    resume: Resume,
    interrupted: Resume,
) -> bytes:
    """Return code and data, for that address.

    `masks`: the signals that the thread blocks, those of whose handlers its system call
    must learn, and those to block while our string runs.
    """
    return (
        _DATA.pack(
            MAGIC,
            page,
            page_bytes,
            *masks,
            XSAVE_MASK if xsave else 0,
            *(functions[name] for name in FUNCTIONS),
            functions.get(ERRNO, at + NO_ERRNO),
            *(registers[name] for name in REGISTERS),
            resume.rax,
            resume.rip,
            interrupted.rax,
            interrupted.rip,
            0x1F80,  # MXCSR as a process starts with it
            0,
        )
        + _CODE
    )


def page_of(raw: bytes) -> int | None:
    """Return the page that an earlier cave's data names; None if it is no cave."""
    if raw[: len(MAGIC)] != MAGIC:
        return None
    return int.from_bytes(raw[8:16], "little")


def page_bytes(code: str) -> int:
    """Return how large a page that code needs."""
    return -(-(_error_at(code) + ERROR_BYTES) // PAGE) * PAGE


def page(address: int, code: str, *, pid: int, own_thread: bool) -> bytes:
    """Return the page's contents, up to where the error would stand."""
    text = _text(code, address + _error_at(code))
    size = page_bytes(code)
    head = _HEAD.pack(_READY, 0, 0, 0, 0, 0, 0, pid, own_thread, 1, 0, 0, 1, size)
    return head + bytes(TEXT - len(head)) + text.ljust(_error_at(code) - TEXT, b"\0")


def read_page(head: bytes) -> Page:
    """Return what the head of a page says."""
    ready, *facts, _, _, inside, _, returned, expected, size = _HEAD.unpack(head)
    claimed, stage, result, thread, tid, queued = facts
    return Page(
        is_ours=ready == _READY,
        claimed=claimed,
        stage=stage,
        result=result,
        thread=thread,
        tid=tid,
        queued=queued,
        inside=bool(inside),
        returned=returned,
        expected=expected,
        n_bytes=size,
    )


def error_of(code: str, raw: bytes) -> str | None:
    """Return what the string raised, from the whole page."""
    at = _error_at(code)
    text = raw[at : at + ERROR_BYTES].partition(b"\0")[0]
    return text.decode("ascii", "replace") or None


def _error_at(code: str) -> int:
    return TEXT + len(_text(code, 1 << 47)) + 64


def _text(code: str, error_at: int) -> bytes:
    """Return what PyRun_SimpleString gets: it binds no name in __main__."""
    script = _SCRIPT.format(code=ascii(code), room=ERROR_BYTES - 1, address=error_at)
    return f"__import__('builtins').exec({script!a}, {{}})\n".encode("ascii") + b"\0"
