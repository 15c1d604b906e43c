"""How much memory is left, read from trees of files made for each test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from proc_tree import tree

from liveheap import limits
from liveheap.admission import GB, MB
from liveheap.limits import Bound

STATUS = """Name:\tpython
VmSize:\t 4000000 kB
VmRSS:\t 1100000 kB
RssAnon:\t 1048576 kB
VmData:\t 2000000 kB
VmPTE:\t    2152 kB
"""
MEMINFO = """MemTotal:       8000000 kB
MemFree:        3000000 kB
MemAvailable:   5000000 kB
CommitLimit:    4000000 kB
Committed_AS:   1000000 kB
"""
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V2_MOUNT = "41 31 0:38 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"


def room_of(root: str, name: str) -> int:
    return {bound.name: bound.room for bound in limits.memory_bounds(root)}[name]


def test_memory_comes_from_proc_self_status(tmp_path: Path) -> None:
    found = limits.process_memory(tree(tmp_path, {"proc/self/status": STATUS}))
    assert found.rss == 1100000 * 1024
    assert found.anonymous == GB
    assert found.page_tables == 2152 * 1024


def test_a_machine_without_proc_has_no_limits(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert limits.process_memory(root).rss == 0
    assert limits.headroom(root).room > 1 << 50
    assert list(limits.process_bounds(root)) == []
    assert limits.huge_pages(root) is None
    assert limits.oom_kills(root) == 0


def test_strange_contents_are_no_limits(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/status": "VmRSS:\tmany kB\nVmPTE\n\n:::\n",
            "proc/self/mountinfo": "nonsense\n1 2 3\n - - -\n"
            + V2_MOUNT.format(root="/"),
            "proc/self/cgroup": "what\n0::/a\n",
            "proc/self/limits": "Max address space\n",
            "sys/fs/cgroup/a/memory.max": "lots\n",
            "sys/fs/cgroup/a/memory.current": "-5\n",
            "proc/meminfo": "\x00\xff",
        },
    )
    assert limits.headroom(root).room > 1 << 50


def cgroup(path: str, **files: object) -> dict[str, str]:
    """The files of one cgroup: `memory_max` is its memory.max."""
    directory = f"sys/fs/cgroup/{path}".rstrip("/")
    return {
        f"{directory}/{name.replace('memory_', 'memory.', 1)}": f"{text}\n"
        for name, text in files.items()
    }


@dataclass(frozen=True)
class Case:
    """Where cgroups are mounted, which is ours, what their files say; and our room."""

    mounted: str
    ours: str
    files: Mapping[str, str]
    expected: Bound


CGROUPS = {
    "v2 counts droppable file pages as room": Case(
        V2_MOUNT.format(root="/"),
        "0::/app\n",
        cgroup(
            "app",
            memory_max=100 * MB,
            memory_current=90 * MB,
            memory_stat=f"anon 1\nactive_file {3 * MB}\ninactive_file {4 * MB}",
        ),
        Bound("memory limit of cgroup /app", 17 * MB),
    ),
    "an ancestor's limit counts too": Case(
        V2_MOUNT.format(root="/"),
        "0::/slice/app\n",
        {
            **cgroup("slice", memory_max=50 * MB, memory_current=49 * MB),
            **cgroup("slice/app", memory_max="max", memory_current=9 * MB),
        },
        Bound("memory limit of cgroup /slice", MB),
    ),
    "v1 is read with its own names": Case(
        V1_MOUNT.format(root="/"),
        "8:pids:/x\n4:memory:/jobs/7\n0::/\n",
        {
            **cgroup(
                "memory/jobs/7",
                memory_limit_in_bytes=64 * MB,
                memory_usage_in_bytes=60 * MB,
                memory_stat="inactive_file 5\n"
                f"total_inactive_file {MB}\ntotal_active_file {MB}",
            ),
            **cgroup(
                "memory",
                memory_limit_in_bytes=9223372036854771712,
                memory_usage_in_bytes=600 * MB,
            ),
        },
        Bound("memory limit of cgroup /jobs/7", 6 * MB),
    ),
    "a container sees its own part of the hierarchy": Case(
        V1_MOUNT.format(root="/docker/abc"),
        "4:memory:/docker/abc/inner\n",
        {
            **cgroup(
                "memory/inner",
                memory_limit_in_bytes=9 * MB,
                memory_usage_in_bytes=MB,
            ),
            **cgroup("memory", memory_limit_in_bytes=5 * MB, memory_usage_in_bytes=MB),
        },
        Bound("memory limit of cgroup /", 4 * MB),
    ),
    "one above the mount falls back to the mount": Case(
        V2_MOUNT.format(root="/docker/abc"),
        "0::/../../other\n",
        cgroup("", memory_max=5 * MB, memory_current=MB),
        Bound("memory limit of cgroup /", 4 * MB),
    ),
    "one beside the mount falls back to the mount": Case(
        V2_MOUNT.format(root="/docker/abc"),
        "0::/elsewhere\n",
        cgroup("", memory_max=5 * MB, memory_current=MB),
        Bound("memory limit of cgroup /", 4 * MB),
    ),
    "a usage above the limit leaves no room": Case(
        V2_MOUNT.format(root="/"),
        "0::/\n",
        cgroup("", memory_max=MB, memory_current=5 * MB),
        Bound("memory limit of cgroup /", 0),
    ),
}


@pytest.mark.parametrize("case", CGROUPS.values(), ids=CGROUPS.keys())
def test_the_tightest_cgroup_bounds_the_room(case: Case, tmp_path: Path) -> None:
    files = {"proc/self/mountinfo": case.mounted, "proc/self/cgroup": case.ours}
    root = tree(tmp_path, {**files, **case.files})
    assert limits.headroom(root) == case.expected


def test_a_cgroup_without_a_limit_is_no_bound(tmp_path: Path) -> None:
    case = CGROUPS["v1 is read with its own names"]
    files = {"proc/self/mountinfo": case.mounted, "proc/self/cgroup": case.ours}
    root = tree(tmp_path, {**files, **case.files})
    assert len(list(limits.memory_bounds(root))) == 1


def test_rlimit_as_counts_from_the_present_size(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/status": STATUS,
            "proc/self/limits": (
                "Limit   Soft Limit  Hard Limit  Units\n"
                f"Max address space         {4000000 * 1024 + 7 * MB}   unlimited b\n"
            ),
        },
    )
    assert room_of(root, "RLIMIT_AS") == 7 * MB


@pytest.mark.parametrize(
    ("overcommit", "expected"),
    [
        (
            "2",
            Bound(
                "CommitLimit (vm.overcommit_memory is 2)",
                (4000000 - 1000000 - 2000000) * 1024,
            ),
        ),
        ("0", Bound("available memory of the machine", 5000000 * 1024)),
    ],
    ids=["strict: the private memory must be promised again", "lax: nothing is"],
)
def test_overcommit(overcommit: str, expected: Bound, tmp_path: Path) -> None:
    files = {
        "proc/self/status": STATUS,
        "proc/meminfo": MEMINFO,
        "proc/sys/vm/overcommit_memory": f"{overcommit}\n",
    }
    assert limits.headroom(tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sys/fs/cgroup/a/memory.events", "low 0\noom 3\noom_kill 2\n"),
        ("sys/fs/cgroup/a/memory.oom_control", "oom_kill_disable 0\noom_kill 2\n"),
    ],
)
def test_oom_kills_of_our_cgroup_are_counted(
    tmp_path: Path, file: str, text: str
) -> None:
    files = {
        "proc/self/mountinfo": V2_MOUNT.format(root="/"),
        "proc/self/cgroup": "0::/a\n",
        file: text,
    }
    assert limits.oom_kills(tree(tmp_path, files)) == 2


def test_this_process_can_be_read() -> None:
    found = limits.process_memory()
    assert found.rss > MB
    assert found.anonymous > MB
    assert limits.headroom().room > 0
