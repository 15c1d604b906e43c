"""Made situations in a real worker are told apart: whose memory grew, and by how much.

Each is some megabytes; the worker is one for all of them, so that each is told beside
what the others left.
"""

import shutil
import subprocess
from pathlib import Path

import memory_fence
import pytest
from agent_host import Host, start_host
from spawn import WORKERS, Stage

from liveheap.errors import CommandError
from liveheap_client.analysis import breakdown

MB = 1_000_000
PARTS = tuple(breakdown.PARTS)


def compiled(source: str, directory: Path) -> Path:
    """Return a shared library of a C file beside the workers."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed"
    library = directory / f"{source}.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", library]
    subprocess.run([*command, WORKERS / f"{source}.c"], check=True, timeout=60)
    return library


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory):
    library = compiled("native_leak", tmp_path_factory.mktemp("native"))
    stage = Stage()
    try:
        host = start_host(stage, "plain", env={"LIVEHEAP_TRIM_EVERY": "0.01"})
        host.do(
            "import ctypes, gc, mmap, threading\n"
            f"native = ctypes.CDLL({str(library)!r})\n"
            "native.leak.argtypes = [ctypes.c_ulong, ctypes.c_size_t]\n"
            "native.use_stack.argtypes = [ctypes.c_size_t]\n"
            "kept, over = [], threading.Event()\n"
            "def mapped(flags):\n"
            "    mapping = mmap.mmap(-1, 4_000_000, flags=flags)\n"
            "    for page in range(0, 4_000_000, 4096): mapping[page] = 1\n"
            "    kept.append(mapping)\n"
        )
        yield host
    finally:
        stage.close()


def look(host: Host) -> dict:
    record = host.request("memory").as_dict()
    assert sum(record[name] for name in PARTS) == record["rss"]
    return record


def walked(host: Host) -> dict:
    """Return a look and a walk."""
    rows = host.request("histogram", top=5000).as_dicts()
    sizes, counts = ([row[name] for row in rows] for name in ("bytes", "count"))
    return {**look(host), "walked_bytes": sum(sizes), "walked_objects": sum(counts)}


SITUATIONS = {
    "an object leak": (
        "kept.append([{'row': n} for n in range(18_000)])",
        {"objects": 5},
    ),
    "large objects": (
        "kept.append([bytes(4000) for _ in range(1000)])",
        {"objects": 4},
    ),
    "native memory of an extension": ("native.leak(4000, 1000)", {"native": 4}),
    "arena fragmentation": (
        "rows = [str(n) * 6 for n in range(60_000)]; kept.append(rows[::40]); del rows",
        {"fragmentation": 4},
    ),
    "malloc fragmentation": (
        "rows = [bytes(3000) for _ in range(1500)]; kept.append(rows[::50]); del rows",
        {"malloc-free": 4},
    ),
    "private memory that code mapped": (
        "mapped(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
        {"mapped": 4},
    ),
    "anonymous memory that is shared": ("mapped(mmap.MAP_SHARED)", {"mapped": 4}),
    "stacks of threads": (
        "ready = threading.Barrier(4)\n"
        "def serve():\n"
        "    native.use_stack(1_000_000); ready.wait(); over.wait()\n"
        "for _ in range(3): threading.Thread(target=serve, daemon=True).start()\n"
        "ready.wait()",
        {"stacks": 3},
    ),
    "nothing": ("pass", {}),
}


@pytest.mark.parametrize(
    ("code", "expected"), SITUATIONS.values(), ids=SITUATIONS.keys()
)
def test_growth_has_its_cause_and_no_other(host: Host, code: str, expected: dict):
    before = walked(host)
    host.do(code)
    found = breakdown.causes(before, walked(host))

    sizes = {cause.kind: cause.bytes / MB for cause in found}
    assert sizes == {
        kind: pytest.approx(size, rel=0.35) for kind, size in expected.items()
    }


def test_without_a_walk_native_memory_may_be_large_objects(host: Host):
    before = look(host)
    host.do("native.leak(4000, 1000)")
    [cause] = breakdown.causes(before, look(host))

    assert cause.kind == "python-or-native"
    assert "--walk" in cause.remedy


def test_open_files_are_told_by_kind(host: Host):
    before = dict(host.request("memory").as_dict()["descriptor_kinds"])
    host.do("import socket; pipes = [os.pipe() for _ in range(10)]")
    after = dict(host.request("memory").as_dict()["descriptor_kinds"])

    assert after["pipe"] - before["pipe"] == 20


def test_a_snapshot_carries_the_figures(host: Host):
    with host.connect() as client:
        _, _, blob = client.stream("snapshot")

    figures = [blob.trailer[name] for name in ("malloc_used", "malloc_free")]
    assert all(size > 10_000 for size in figures)
    files = blob.header["memory"]
    assert sum(files["descriptor_kinds"].values()) == files["descriptors"]
    assert files["sockets"] == files["descriptor_kinds"]["unix"]


def test_a_worker_without_a_descriptor_left_is_told_so(host: Host):
    with host.connect() as client:
        host.do("import resource; limits = resource.getrlimit(resource.RLIMIT_NOFILE)")
        host.do("resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))")
        try:
            with pytest.raises(CommandError, match="Too many open files") as failed:
                client.request("memory")
        finally:
            host.do("resource.setrlimit(resource.RLIMIT_NOFILE, limits)")

    assert failed.value.code == "failed"


def test_trim_gives_back_what_malloc_keeps_and_says_how_much(host: Host):
    host.do("rows = [bytes(9000) for _ in range(1000)]; del rows[::2]")
    told = host.request("trim").as_dict()

    assert told["given_back"] > 1.5 * MB
    assert told["malloc_free_before"] - told["malloc_free_after"] > 1.5 * MB
    assert told["seconds"] < 5


def test_a_trim_that_might_stop_the_worker_for_too_long_is_refused(host: Host):
    host.do("rows = [bytes(9000) for _ in range(600)]; del rows[::2]")
    with pytest.raises(CommandError, match="would wait for about") as refused:
        host.request("trim", max_pause_ms=0.0)

    assert refused.value.code == "refused"
    assert host.request("trim", max_pause_ms=0.0, force=True).as_dict()["seconds"] > 0


@pytest.mark.parametrize(
    ("value", "words"),
    [("malloc", "objects come from malloc"), ("debug", "debug bytes")],
)
def test_what_pythonmalloc_changes_is_said(stage: Stage, value: str, words: str):
    host = start_host(stage, "plain", env={"PYTHONMALLOC": value})
    record = look(host)

    assert any(words in doubt for doubt in breakdown.doubts(record))
    assert (record["n_pools"] == 0) is (value == "malloc")
    host.do("kept = [{'row': n} for n in range(18_000)]")
    [cause] = breakdown.causes(record, look(host))
    assert cause.kind == ("python-or-native" if value == "malloc" else "objects")


def test_a_malloc_that_is_not_the_librarys_is_not_judged(stage: Stage, tmp_path: Path):
    library = compiled("other_malloc", tmp_path)
    host = start_host(stage, "plain", env={"LD_PRELOAD": str(library)})
    before = look(host)
    host.do("kept = [bytes(3000) for _ in range(1500)]")
    after = look(host)

    assert after["glibc"] is None
    assert after["malloc"] != "libc.so.6"
    assert any("unknown allocator" in doubt for doubt in breakdown.doubts(after))
    assert [one.kind for one in breakdown.causes(before, after)] == [
        "unknown-allocator"
    ]
    with pytest.raises(CommandError, match="not glibc's") as refused:
        host.request("trim")
    assert refused.value.code == "unsupported"


@pytest.mark.skipif(
    memory_fence.MemoryCgroup.name not in memory_fence.kinds(),
    reason="needs a memory cgroup of our own",
)
def test_a_worker_whose_cgroup_is_full_is_told_like_any_other(stage: Stage):
    fence = memory_fence.make(memory_fence.MemoryCgroup.name)
    worker = stage.spawn_command(fence.command("agent_host.py", "plain"))
    host = Host(worker)
    host.do("answer = 1")
    with host.unharmed():
        fence.leave_headroom(host.pid, 1 << 20)
        assert look(host)["rss"] > MB
        fence.lift(host.pid)
    worker.end()
    fence.remove()
