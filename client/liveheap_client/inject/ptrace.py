"""Run a string of Python in a process that prepared nothing, by ptrace. Linux x86-64.

Thin first version, for those who code against its names: what it calls is final, how
it works is not. Killing this process in the middle of a direct call still kills the
worker.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liveheap_client.errors import InjectError

Mode = Literal["auto", "pending", "direct"]
Thread = Literal["main", "own"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

CONT, SINGLESTEP, GETREGS, SETREGS, DETACH = 7, 9, 12, 13, 17
SEIZE, INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000
NO_SYSCALL = 0xFFFFFFFFFFFFFFFF
REGISTERS = [
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
]
BLOCKING = {0, 7, 23, 35, 43, 45, 47, 61, 230, 232, 270, 271, 281, 288}
WANTED = {
    "Py_AddPendingCall",
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyRun_SimpleString",
}


@dataclass(frozen=True, slots=True)
class Injection:
    """What was done.

    `ran` is True once the string has run to its end, with `error` what it raised, if
    anything; otherwise `waits` says in words what it waits for. It will run then, and
    once only, whether we are still there or not.
    """

    pid: int
    mode: Literal["pending", "direct"]
    thread: Thread
    stopped_ms: float  # the longest that the main thread stood still
    ran: bool
    waits: str | None = None
    error: str | None = None
    left_bytes: int = 0  # memory of ours that stays in the worker


class _Regs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


def inject(
    pid: int,
    code: str,
    *,
    mode: Mode = "auto",
    thread: Thread = "main",
    timeout: float = 10.0,
) -> Injection:
    """Run `code` once in the process; what it raises stays in it.

    `thread` says where: on the worker's main thread, between two of its bytecodes or
    while it waits in a system call, or on a native thread of its own. `timeout` bounds
    the wait for its end, not the stop.

    Raises:
        InjectError: nothing will run in the worker.
    """
    text = f"exec({_swallowing(code)!r}, {{}})"
    if thread == "own":
        text = f"import _thread; _thread.start_new_thread(exec, ({text!r}, {{}}))"
    try:
        functions, syscall = _resolve(pid), _find_syscall(pid)
        return _Tracee(pid).run(functions, syscall, text, mode, thread)
    except OSError as error:
        raise InjectError(f"process {pid} cannot be traced: {error}") from error


def _swallowing(code: str) -> str:
    return f"try:\n exec({code!r}, {{}})\nexcept BaseException:\n pass\n"


def _symbols(file: bytes) -> tuple[dict[str, int], int, int]:
    (shoff,) = struct.unpack_from("<Q", file, 0x28)
    (shnum,) = struct.unpack_from("<H", file, 0x3C)
    found = {}
    for index in range(shnum):
        header = shoff + index * 64
        (kind,) = struct.unpack_from("<I", file, header + 4)
        if kind not in (2, 11):
            continue
        offset, size, link = struct.unpack_from("<QQI", file, header + 24)
        (strings,) = struct.unpack_from("<Q", file, shoff + link * 64 + 24)
        for at in range(offset, offset + size, 24):
            name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", file, at)
            if section:
                start = strings + name
                text = file[start : file.index(b"\0", start)].decode("latin1")
                if text in WANTED:
                    found[text] = value
    (etype,) = struct.unpack_from("<H", file, 16)
    (phoff,) = struct.unpack_from("<Q", file, 0x20)
    return found, struct.unpack_from("<Q", file, phoff + 16)[0], etype


def _resolve(pid: int) -> dict[str, int]:
    seen = set()
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        part = line.split()
        if (
            len(part) < 6
            or part[5] in seen
            or not re.search(r"libpython|/python[\d.]*$", part[5])
        ):
            continue
        seen.add(part[5])
        file = Path(f"/proc/{pid}/root{part[5]}").read_bytes()
        symbols, _, etype = _symbols(file)
        if set(symbols) >= WANTED:
            base = int(part[0].split("-")[0], 16) - int(part[2], 16)
            shift = base if etype == 3 else 0
            return {name: value + shift for name, value in symbols.items()}
    raise InjectError(f"process {pid} is not a Python, or shows no symbols")


def _find_syscall(pid: int) -> int:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        part = line.split()
        if "x" in part[1] and len(part) > 5 and "libc" in part[5]:
            start, end = (int(x, 16) for x in part[0].split("-"))
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                return start + memory.read(end - start).index(b"\x0f\x05")
    raise InjectError(f"process {pid} has no C library that we know")


class _Tracee:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(
        self,
        functions: dict[str, int],
        syscall: int,
        text: str,
        mode: Mode,
        thread: Thread,
    ) -> Injection:
        self.memory = open(f"/proc/{self.pid}/mem", "r+b", 0)  # noqa: SIM115 (closed below)
        self.ptrace(SEIZE)
        start = time.perf_counter()
        self.ptrace(INTERRUPT)
        os.waitpid(self.pid, WALL)
        self.saved = self.regs()
        blocked = self.saved.orig_rax in BLOCKING
        direct = mode == "direct" or (mode == "auto" and blocked)
        try:
            page = self.syscall(syscall, 9, (0, 65536, 3, 0x22, -1, 0))
            self.memory.seek(page)
            self.memory.write(text.encode() + b"\0")
            run = functions["PyRun_SimpleString"]
            if direct:
                state = self.call(functions["PyGILState_Ensure"])
                self.call(run, page)
                self.call(functions["PyGILState_Release"], state & 0xFFFFFFFF)
            else:
                self.call(functions["Py_AddPendingCall"], run, page)
        finally:
            self.ptrace(SETREGS, 0, ctypes.addressof(self.saved))
            self.ptrace(DETACH)
            self.memory.close()
        stopped = (time.perf_counter() - start) * 1e3
        return Injection(
            self.pid,
            "direct" if direct else "pending",
            thread,
            round(stopped, 2),
            ran=direct,
            waits=None if direct else "its main thread to reach the next bytecode",
            left_bytes=65536,
        )

    def ptrace(self, request: int, address: int = 0, data: int = 0) -> None:
        if _libc.ptrace(request, self.pid, address, data) == -1:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def regs(self) -> _Regs:
        regs = _Regs()
        self.ptrace(GETREGS, 0, ctypes.addressof(regs))
        return regs

    def resume(self, request: int, changes: dict[str, int]) -> None:
        regs = _Regs.from_buffer_copy(self.saved)
        for name, value in changes.items():
            setattr(regs, name, value & NO_SYSCALL)
        self.ptrace(SETREGS, 0, ctypes.addressof(regs))
        self.ptrace(request)

    def syscall(self, address: int, number: int, args: tuple[int, ...]) -> int:
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        where = {"rax": number, "rip": address, "orig_rax": -1}
        self.resume(SINGLESTEP, {**dict(zip(names, args, strict=False)), **where})
        os.waitpid(self.pid, WALL)
        return int(self.regs().rax)

    def call(self, function: int, *args: int) -> int:
        stack = ((self.saved.rsp - 512) & ~0xF) - 8
        self.memory.seek(stack)
        self.memory.write(struct.pack("<Q", 0))
        where = {"rsp": stack, "rip": function, "rax": 0, "orig_rax": -1}
        names = ("rdi", "rsi", "rdx")
        self.resume(CONT, {**dict(zip(names, args, strict=False)), **where})
        while True:
            _, status = os.waitpid(self.pid, WALL)
            regs = self.regs()
            if os.WSTOPSIG(status) == signal.SIGSEGV and regs.rip == 0:
                return int(regs.rax)
            self.ptrace(CONT)
