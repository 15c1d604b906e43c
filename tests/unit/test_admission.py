"""The forecast of a snapshot, where its spool goes, and pages collapsed beforehand."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from proc_tree import tree

from liveheap import admission, hugepages
from liveheap.admission import GB, MB, Forecast, PausePredictor, SpoolPlace
from liveheap.errors import CommandError
from liveheap.limits import Bound, ProcessMemory

V1_PIDS = "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"


def memory(anonymous: int, page_tables: int = 0) -> ProcessMemory:
    return ProcessMemory(
        rss=anonymous,
        anonymous=anonymous,
        page_tables=page_tables,
        private_data=anonymous,
        address_space=anonymous,
    )


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
    with pytest.raises(CommandError, match=r"about 251 ms, and 100 ms") as caught:
        admission.admit(expected, max_pause_ms=100, root="/nowhere")
    assert "--max-pause 326" in str(caught.value.hint)


def test_the_way_out_of_a_short_stop_is_one_that_works() -> None:
    expected = Forecast(0.2, 16 * MB, Bound("any", GB))
    with pytest.raises(CommandError, match=r"about 1 ms, and 0 ms") as caught:
        admission.admit(expected, max_pause_ms=0, root="/nowhere")
    assert "--max-pause 1 " in str(caught.value.hint)


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
