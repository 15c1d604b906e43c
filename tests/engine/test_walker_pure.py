"""The engine's files without Python.h: built and run alone, also with UBSan."""

import shutil
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "liveheap" / "csrc"
PROGRAM = Path(__file__).parent / "native" / "pure.c"
SOURCES = [
    ENGINE / name for name in ("bitmap.c", "sha256.c", "sink.c", "walker_memory.c")
]


@pytest.mark.parametrize("sanitizers", [[], ["-fsanitize=undefined"]])
def test_bitmap_hash_sink_and_vectors_hold_alone(tmp_path, sanitizers):
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the engine's tests need a C compiler"
    program = tmp_path / "pure"
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    command = [compiler, *flags, *sanitizers, f"-I{ENGINE}", "-o", program, PROGRAM]
    subprocess.run([*command, *SOURCES], check=True, timeout=60)
    finished = subprocess.run(
        [program, tmp_path / "spool"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
