"""The forecast and the limits, read from trees of files made for each test."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from liveheap import admission, hugepages, limits
from liveheap.admission import GB, MB, Forecast, PausePredictor, SpoolPlace
from liveheap.errors import CommandError
from liveheap.limits import Bound, ProcessMemory

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
V1_PIDS = "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
V2_MOUNT = "41 31 0:38 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"


def tree(root: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def room_of(root: str, name: str) -> int:
    return {bound.name: bound.room for bound in limits.memory_bounds(root)}[name]


def memory(anonymous: int, page_tables: int = 0) -> ProcessMemory:
    return ProcessMemory(
        rss=anonymous,
        anonymous=anonymous,
        page_tables=page_tables,
        private_data=anonymous,
        address_space=anonymous,
    )


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


def test_cgroup_v2_counts_droppable_file_pages_as_room(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNT.format(root="/"),
            "proc/self/cgroup": "0::/app\n",
            "sys/fs/cgroup/app/memory.max": f"{100 * MB}\n",
            "sys/fs/cgroup/app/memory.current": f"{90 * MB}\n",
            "sys/fs/cgroup/app/memory.stat": (
                f"anon 1\nactive_file {3 * MB}\ninactive_file {4 * MB}\n"
            ),
        },
    )
    assert room_of(root, "memory limit of cgroup /app") == 17 * MB


def test_an_ancestors_limit_counts_too(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNT.format(root="/"),
            "proc/self/cgroup": "0::/slice/app\n",
            "sys/fs/cgroup/slice/memory.max": f"{50 * MB}",
            "sys/fs/cgroup/slice/memory.current": f"{49 * MB}",
            "sys/fs/cgroup/slice/app/memory.max": "max",
            "sys/fs/cgroup/slice/app/memory.current": f"{9 * MB}",
        },
    )
    assert limits.headroom(root) == Bound("memory limit of cgroup /slice", MB)


def test_cgroup_v1_is_read_with_its_own_names(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V1_MOUNT.format(root="/"),
            "proc/self/cgroup": "8:pids:/x\n4:memory:/jobs/7\n0::/\n",
            "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": f"{64 * MB}\n",
            "sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes": f"{60 * MB}\n",
            "sys/fs/cgroup/memory/jobs/7/memory.stat": (
                f"inactive_file 5\ntotal_inactive_file {MB}\ntotal_active_file {MB}\n"
            ),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{600 * MB}\n",
        },
    )
    assert limits.headroom(root) == Bound("memory limit of cgroup /jobs/7", 6 * MB)
    assert len(list(limits.memory_bounds(root))) == 1


def test_a_container_sees_its_own_part_of_the_hierarchy(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V1_MOUNT.format(root="/docker/abc"),
            "proc/self/cgroup": "4:memory:/docker/abc/inner\n",
            "sys/fs/cgroup/memory/inner/memory.limit_in_bytes": f"{9 * MB}\n",
            "sys/fs/cgroup/memory/inner/memory.usage_in_bytes": f"{MB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{5 * MB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{MB}\n",
        },
    )
    assert limits.headroom(root) == Bound("memory limit of cgroup /", 4 * MB)


@pytest.mark.parametrize("path", ["/../../other", "/elsewhere"])
def test_a_cgroup_outside_the_mount_falls_back_to_the_mount(
    tmp_path: Path, path: str
) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNT.format(root="/docker/abc"),
            "proc/self/cgroup": f"0::{path}\n",
            "sys/fs/cgroup/memory.max": f"{5 * MB}\n",
            "sys/fs/cgroup/memory.current": f"{MB}\n",
        },
    )
    assert limits.headroom(root).room == 4 * MB


def test_a_usage_above_the_limit_leaves_no_room(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNT.format(root="/"),
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{MB}\n",
            "sys/fs/cgroup/memory.current": f"{5 * MB}\n",
        },
    )
    assert limits.headroom(root).room == 0


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


def test_strict_overcommit_must_promise_the_private_memory_again(
    tmp_path: Path,
) -> None:
    files = {
        "proc/self/status": STATUS,
        "proc/meminfo": MEMINFO,
        "proc/sys/vm/overcommit_memory": "2\n",
    }
    found = limits.headroom(tree(tmp_path, files))
    assert found.name == "CommitLimit (vm.overcommit_memory is 2)"
    assert found.room == (4000000 - 1000000 - 2000000) * 1024


def test_lax_overcommit_promises_nothing(tmp_path: Path) -> None:
    files = {
        "proc/self/status": STATUS,
        "proc/meminfo": MEMINFO,
        "proc/sys/vm/overcommit_memory": "0\n",
    }
    found = limits.headroom(tree(tmp_path, files))
    assert found == Bound("available memory of the machine", 5000000 * 1024)


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


def test_a_snapshot_is_refused_below_five_percent_of_rss() -> None:
    expected = admission.forecast(
        memory(GB), pause_ms=1, spool=None, spool_bytes=0, root="/nowhere"
    )
    assert expected.need == int(GB * 0.05)
    tight = Forecast(1, expected.need, Bound("memory limit of cgroup /app", 50 * MB))
    with pytest.raises(
        CommandError, match=r"51 MB.*cgroup /app leaves 50 MB"
    ) as caught:
        admission.admit(tight, max_pause_ms=100, root="/nowhere")
    assert caught.value.code == "refused"
    assert "--force" in str(caught.value.hint)


def test_a_small_worker_still_needs_sixteen_megabytes() -> None:
    expected = admission.forecast(
        memory(MB), pause_ms=1, spool=None, spool_bytes=0, root="/nowhere"
    )
    assert expected.need == 16 * MB


def test_a_spool_in_memory_is_added_to_the_need() -> None:
    on_disk = SpoolPlace("/var/tmp", GB, in_memory=False)
    in_memory = SpoolPlace("/dev/shm", GB, in_memory=True)
    needs = [
        admission.forecast(
            memory(MB), pause_ms=1, spool=place, spool_bytes=30 * MB, root="/nowhere"
        ).need
        for place in (on_disk, in_memory)
    ]
    assert needs == [16 * MB, 46 * MB]


def test_a_long_stop_is_refused_with_its_figure_and_a_way_out() -> None:
    expected = Forecast(250.4, 16 * MB, Bound("any", GB))
    with pytest.raises(CommandError, match=r"about 250 ms, and 100 ms") as caught:
        admission.admit(expected, max_pause_ms=100, root="/nowhere")
    assert "--max-pause 326" in str(caught.value.hint)


def test_a_full_pids_cgroup_is_named(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/mountinfo": V1_PIDS,
            "proc/self/cgroup": "8:pids:/w\n",
            "sys/fs/cgroup/pids/w/pids.max": "12\n",
            "sys/fs/cgroup/pids/w/pids.current": "12\n",
        },
    )
    with pytest.raises(CommandError, match=r"pids\.max of cgroup /w permits no"):
        admission.admit(Forecast(1, MB, Bound("any", GB)), max_pause_ms=100, root=root)


def test_the_pause_is_foretold_from_small_pages() -> None:
    predictor = PausePredictor()
    assert predictor.predict_ms(memory(2 * GB), huge=0) == pytest.approx(50)
    assert predictor.predict_ms(memory(2 * GB), huge=2 * GB) == pytest.approx(1.6)
    assert predictor.predict_ms(memory(2 * GB), huge=None) == pytest.approx(50)


def test_page_tables_bound_the_pause_without_reading_smaps() -> None:
    predictor = PausePredictor()
    mapped = memory(GB, page_tables=512 * 1024)
    assert predictor.upper_bound_ms(mapped) == pytest.approx(25 / 4)


def test_the_predictor_learns_this_machines_rate() -> None:
    predictor = PausePredictor()
    for _ in range(20):
        predictor.learn(80_000_000, memory(GB), huge=0)
    assert predictor.ms_per_gb == pytest.approx(80, rel=0.01)


def test_an_unknown_share_of_huge_pages_never_lowers_the_rate() -> None:
    predictor = PausePredictor()
    predictor.learn(1_000_000, memory(GB), huge=None)
    assert predictor.ms_per_gb == 25
    predictor.learn(75_000_000, memory(GB), huge=None)
    assert predictor.ms_per_gb == 50


def test_a_small_heap_teaches_nothing() -> None:
    predictor = PausePredictor()
    predictor.learn(90_000_000, memory(10 * MB), huge=0)
    assert predictor.ms_per_gb == 25


def mounted(tmp_path: Path, types: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Directories below tmp_path, and a mountinfo that gives them these types."""
    directories = {name: str(tmp_path / name) for name in types}
    lines = "1 0 0:1 / / rw - ext4 /dev/vda rw\n"
    for name, kind in types.items():
        (tmp_path / name).mkdir()
        escaped = str(tmp_path / name).replace(" ", "\\040")
        lines += f"2 1 0:2 / {escaped} rw - {kind} none rw\n"
    root = tree(tmp_path / "root", {"proc/self/mountinfo": lines})
    return root, directories


def test_a_disk_is_preferred_to_memory(tmp_path: Path) -> None:
    root, at = mounted(tmp_path, {"in memory": "tmpfs", "disk": "xfs"})
    place = admission.spool_place([at["in memory"], at["disk"]], need=1, root=root)
    assert place is not None
    assert (place.directory, place.in_memory) == (at["disk"], False)


def test_memory_is_taken_where_there_is_no_disk(tmp_path: Path) -> None:
    root, at = mounted(tmp_path, {"shm": "tmpfs"})
    place = admission.spool_place(
        [str(tmp_path / "gone"), at["shm"]], need=1, root=root
    )
    assert place is not None
    assert (place.directory, place.in_memory) == (at["shm"], True)


def test_no_writable_directory_is_refused_by_name() -> None:
    place = admission.spool_place(["/nonexistent/a"], need=1)
    with pytest.raises(CommandError, match="/nonexistent/a") as caught:
        admission.admit_spool(place, need=1, looked_at=["/nonexistent/a"])
    assert "LIVEHEAP_SPOOL" in str(caught.value.hint)


def test_a_spool_place_that_is_too_small_is_refused(tmp_path: Path) -> None:
    place = admission.spool_place([str(tmp_path)], need=1 << 60)
    with pytest.raises(CommandError, match=r"spool needs about .* MB free"):
        admission.admit_spool(place, need=1 << 60, looked_at=[str(tmp_path)])


def test_chunks_lie_whole_inside_anonymous_writable_mappings(tmp_path: Path) -> None:
    maps = (
        "00200000-00700000 rw-p 00000000 00:00 0 \n"
        "00900000-00a00000 rw-p 00000000 00:00 0 \n"
        "01100000-01500000 rw-p 00000000 00:00 0          [heap]\n"
        "02000000-03000000 r--p 00000000 00:00 0 \n"
        "04000000-05000000 rw-p 00000000 08:01 77         /lib/x.so\n"
        "06000000-07000000 rw-s 00000000 00:00 0 \n"
    )
    root = tree(tmp_path, {"proc/self/maps": maps})
    assert [hex(a) for a in hugepages.chunk_addresses(root)] == [
        "0x200000",
        "0x400000",
        "0x1200000",
    ]


def test_prepare_stops_on_an_old_kernel_and_says_so(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"proc/self/maps": "00200000-00700000 rw-p 00000000 00:00 0 \n"}
    )
    done = hugepages.prepare(
        lambda _address, _length, _rest: 22,
        rest_s=0,
        cancelled=lambda: False,
        root=root,
    )
    assert (done.collapsed, done.stopped) == (
        0,
        "this kernel cannot collapse pages on request",
    )


def test_prepare_skips_chunks_that_cannot_be_had(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"proc/self/maps": "00200000-00a00000 rw-p 00000000 00:00 0 \n"}
    )
    answers = iter([12, 0, 11, 0])
    done = hugepages.prepare(
        lambda *_: next(answers), rest_s=0, cancelled=lambda: False, root=root
    )
    assert (done.chunks, done.collapsed, done.stopped) == (4, 2, None)


def test_prepare_stops_when_memory_is_short(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/maps": "00200000-00a00000 rw-p 00000000 00:00 0 \n",
            "proc/meminfo": "MemAvailable: 17000 kB\n",
        },
    )
    done = hugepages.prepare(lambda *_: 0, rest_s=0, cancelled=lambda: False, root=root)
    assert (done.chunks, done.stopped) == (
        0,
        "memory is short: available memory of the machine",
    )


def test_this_process_can_be_read() -> None:
    found = limits.process_memory()
    assert found.rss > MB
    assert found.anonymous > MB
    assert limits.headroom().room > 0
