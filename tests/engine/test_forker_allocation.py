"""The child asks malloc for nothing: another thread of the worker may hold its lock."""

import shutil
import subprocess
from pathlib import Path

import forking
import pytest

SOURCE = Path(__file__).parent / "native" / "no_malloc.c"
ALLOCATED = 86


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the worker says that runs on a malloc which ends any clone that calls it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the engine's tests need a C compiler"
    library = tmp_path_factory.mktemp("malloc") / "no_malloc.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library]
    subprocess.run([compiler, *flags, SOURCE], check=True, timeout=60)
    prefix = ("env", f"LD_PRELOAD={library}", "PYTHONMALLOC=malloc")
    with forking.program("every_type.py", prefix=prefix) as program:
        yield program.answer()
        assert program.end() == 0


def test_a_clone_that_allocates_is_ended(told):
    assert told["fork"] == ALLOCATED


@pytest.mark.parametrize("kind", ["graph", "histogram"])
def test_a_walk_allocates_nothing_whatever_the_types(told, kind):
    assert (told[kind]["end"], told[kind]["code"]) == ("done", "complete")
    assert told[kind]["greenlets"] >= 3
