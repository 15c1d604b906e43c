"""What is read of another process's files is believed only where it may be."""

import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from liveheap_client.inject import elf, interpreter, stub
from liveheap_client.inject.elf import Garbage, Mapping, Module, Symbols

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="reads ELF files of x86-64 in its own memory",
)


class Own:
    """The memory of this process, with bytes changed on the way."""

    def __init__(self, spoil: Callable[[int, bytes], bytes] | None = None) -> None:
        self.reads = 0
        self._spoil = spoil
        self._fd = os.open("/proc/self/mem", os.O_RDONLY)

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        try:
            raw = os.pread(self._fd, size, address)
        except (OSError, OverflowError) as error:
            raise Garbage from error
        if len(raw) != size:
            raise Garbage
        return raw if self._spoil is None else self._spoil(address, raw)

    def __del__(self) -> None:
        os.close(self._fd)


@pytest.fixture(scope="module")
def maps() -> tuple[Mapping, ...]:
    return elf.read_maps(Path("/proc/self/maps").read_bytes())


@pytest.fixture(scope="module")
def python(maps: tuple[Mapping, ...]) -> Module:
    memory = Own()
    found = interpreter.find(memory, list(elf.modules(memory, maps)))
    assert found is not None
    return found.module


def test_functions_are_found_where_the_loader_has_them(python: Module) -> None:
    import ctypes

    found = interpreter.find(Own(), [python])
    assert found is not None
    assert found.version == sys.version_info[:2]
    for name in stub.FUNCTIONS:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        assert found.functions[name] == address
    assert Symbols(Own(), python).find("Py_NoSuchThing") is None


def test_the_lock_of_the_pending_calls_is_found_and_free(python: Module) -> None:
    found = interpreter.find(Own(), [python])
    assert found is not None
    lock = found.pending_lock(Own())
    assert lock is not None
    assert lock.is_free(Own())


def test_tails_are_blank_and_belong_to_no_code(maps: tuple[Mapping, ...]) -> None:
    memory = Own()
    found = list(elf.modules(memory, maps))
    slots = list(interpreter.slots(memory, found))
    assert slots
    for at, page in slots:
        assert page is None
        for segment in (each for module in found for each in module.segments):
            assert at >= segment.end or at + stub.SIZE <= segment.start


@pytest.mark.parametrize("seed", range(25))
def test_garbage_ends_in_nothing_and_soon(
    seed: int, maps: tuple[Mapping, ...], python: Module
) -> None:
    chance = random.Random(seed)

    def spoil(address: int, raw: bytes) -> bytes:
        if chance.random() > 0.2:
            return raw
        spoilt = bytearray(raw)
        for _ in range(chance.randrange(1, 4)):
            spoilt[chance.randrange(len(raw))] = chance.choice((0, 1, 0x7F, 0xFF))
        return bytes(spoilt)

    memory = Own(spoil)
    for module in (python, *elf.modules(memory, maps)):
        found = interpreter.find(memory, [module])
        if found is not None:
            inside = [module.holds(found.functions[name]) for name in stub.FUNCTIONS]
            assert all(inside)
            found.pending_lock(memory)
        list(interpreter.slots(memory, [module]))
    assert memory.reads < 1_000_000


@pytest.mark.parametrize("seed", range(25))
def test_a_spoilt_file_ends_in_nothing(
    seed: int, python: Module, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    raw = bytearray(Path(sys.executable).resolve().read_bytes()[:200_000])
    for _ in range(20):
        raw[chance.randrange(min(len(raw), 64) if seed % 2 else len(raw))] ^= 0xFF
    path = tmp_path / "spoilt"
    path.write_bytes(raw[: chance.choice((len(raw), 10, 64, len(raw) // 2))])
    with path.open("rb") as file, suppress(Garbage):
        found = elf.symbols_of_file(file.fileno(), python, stub.FUNCTIONS)
        assert all(python.holds(address) for address in found.values())


def test_an_empty_file_is_garbage(python: Module, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file, pytest.raises(Garbage):
        elf.symbols_of_file(file.fileno(), python, stub.FUNCTIONS)


def test_paths_with_anything_in_them_do_not_split_a_line() -> None:
    line = b"7f00-7f10 r-xp 00000000 fe:00 12    /tmp/a b\x1b[2J\xff (deleted)"
    (found,) = elf.read_maps(line + b"\nnonsense\n7f00-7f10 r-xp\n")
    assert found.path == "/tmp/a b\x1b[2J\udcff (deleted)"
    assert found.is_private_code
