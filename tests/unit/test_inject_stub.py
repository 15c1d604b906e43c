"""The machine code is what its source says, and its data is where that looks for it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from liveheap_client.inject import stub, tracee
from liveheap_client.inject.moment import NotOurs, moment
from liveheap_client.inject.tracee import Registers

SOURCE = Path(__file__).parents[2] / "client/liveheap_client/inject/csrc/stub.S"
EVERY_FUNCTION = dict.fromkeys(stub.FUNCTIONS, 0)


@pytest.mark.skipif(
    not shutil.which("cc") or not shutil.which("objcopy"),
    reason="needs an assembler",
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="assembles for x86-64")
def test_the_bytes_are_those_of_the_source(tmp_path: Path) -> None:
    subprocess.run(["cc", "-c", str(SOURCE), "-o", "stub.o"], cwd=tmp_path, check=True)
    copy = ["objcopy", "-O", "binary", "-j", ".text", "stub.o", "stub.bin"]
    subprocess.run(copy, cwd=tmp_path, check=True)
    names = subprocess.run(
        ["nm", "stub.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    offsets = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
    for name in ("ENTER", "ENTERED", "FILLED", "NO_ERRNO", "THUNK", "BODY"):
        assert getattr(stub, name) == offsets[name.lower()]
    assembled = (tmp_path / "stub.bin").read_bytes()
    assert cave()[stub.ENTER :] == assembled[stub.ENTER :]
    assert len(assembled) == stub.SIZE
    for name, offset in {"page": 8, "add_pending": 56, "errno_location": 128}.items():
        assert offsets[name] == offset
    for name in stub.REGISTERS:
        at = offsets[{"eflags": "flags"}.get(name, name) + "_"]
        assert cave(name)[at : at + 8] == b"\x11" * 8


def test_the_constants_are_those_of_the_source() -> None:
    text = SOURCE.read_text("ascii")
    said = {k: int(v) for k, v in re.findall(r"\.set +(\w+), (\d+)", text)}
    same = {"DIRECT", "PENDING", "ONLY_SYSCALL", "TEXT", "BEGAN", "DONE"}
    for name in same | {"NOT_INITIALIZED"}:
        assert getattr(stub, name) == said[name]
    assert (said["INSIDE"], said["XSAVE"]) == (stub.INSIDE_AT, stub.HEAD_BYTES)
    assert said["RETURNED"] + 4 == stub.EXPECTED_AT


def cave(marked: str = "") -> bytes:
    registers = {name: 0x1111111111111111 * (name == marked) for name in stub.REGISTERS}
    return stub.cave(
        at=0,
        functions=EVERY_FUNCTION,
        page=0,
        page_bytes=0,
        masks=(0, 0, 0),
        xsave=True,
        registers=registers,
        resume=stub.Resume(0, 0),
        interrupted=stub.Resume(0, 0),
    )


def test_a_page_says_of_itself_what_is_in_it() -> None:
    code = "print('a\\n\x00\u20ac\ud800')" * 500
    raw = stub.page(0x7F0000000000, code, pid=7, own_thread=False)
    page = stub.read_page(raw[: stub.HEAD_BYTES])
    assert (page.is_ours, page.inside, page.expected) == (True, True, 1)
    assert not page.is_over
    assert page.n_bytes == stub.page_bytes(code) >= len(raw) + stub.ERROR_BYTES
    text = raw[stub.TEXT :].partition(b"\0")[0]
    assert text.isascii()
    compile(text, "page", "exec")
    assert stub.error_of(code, raw.ljust(page.n_bytes, b"\0")) is None
    assert stub.error_of(code, raw + b"Error: x\0") == "Error: x"


class Syscalls:
    """A memory that is one system call after another."""

    def read(self, address: int, size: int) -> bytes:
        return (b"\x0f\x05" * size)[:size]


@pytest.mark.parametrize(
    ("result", "resume", "interrupted", "wakes"),
    [
        (-512, (0, 98), (-4, 100), True),
        (-513, (0, 98), (-4, 100), False),
        (-514, (0, 98), (-4, 100), True),
        (-516, (219, 98), (-4, 100), True),
        (-4, (-4, 100), (-4, 100), False),
        (17, (17, 100), (17, 100), False),
    ],
)
def test_a_system_call_goes_on_as_the_kernel_would_have_it(
    result: int, resume: tuple[int, int], interrupted: tuple[int, int], wakes: bool
) -> None:
    found = stopped(rax=result, rip=100, orig_rax=0)
    assert (signed(found.resume.rax), found.resume.rip) == resume
    if found.interrupted != found.resume:
        assert (signed(found.interrupted.rax), found.interrupted.rip) == interrupted
    assert found.wake == (0b1010 if wakes else 0)
    assert found.waits_in == (0 if result < 0 else None)


def test_a_wait_for_a_lock_ends_as_by_a_signal() -> None:
    found = stopped(rax=-512, rip=100, orig_rax=202)
    assert (signed(found.resume.rax), found.resume.rip) == (-4, 100)
    assert signed(found.as_found.orig_rax) == -1


def test_a_thread_in_its_own_code_goes_on_there() -> None:
    found = stopped(rax=5, rip=100, orig_rax=-1)
    assert (found.resume, found.waits_in, found.in_syscall) == (
        stub.Resume(5, 100),
        None,
        None,
    )
    assert found.stack % 64 == 0
    assert found.stack <= found.registers.rsp - 128


def test_32_bit_code_is_refused() -> None:
    with pytest.raises(NotOurs):
        moment(Registers(cs=0x23), 0, 0, Syscalls())


def stopped(**values: int):  # type: ignore[no-untyped-def]
    registers = Registers(cs=0x33, rsp=0x7FFF0000).changed(**values)
    return moment(registers, 0b0100, 0b1110, Syscalls())


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def test_importing_it_needs_no_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(tracee, ModuleType)
    run = "import sys; sys.platform = 'darwin'; import liveheap_client.inject.ptrace"
    subprocess.run([sys.executable, "-c", run], check=True)
