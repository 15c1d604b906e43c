"""Where resident memory goes: does it close, is it right, what does the worker feel?

Heaps of 10 MB to 2 GB of each kind. The sum of the parts is compared with the RSS that
the worker reads of itself; what grew with what was built; and the ticker, which maps
and allocates all the time, shows what `memory` and `trim` keep from it. `mallinfo2` is
beside them: that is how others ask malloc.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from driver import Failed, Target, running_program
from table import Row

from liveheap.protocol.auth import Scope
from liveheap_client.analysis import breakdown
from liveheap_client.session import Session

MB = 1_000_000
SOURCE = Path(__file__).parents[1] / "integration" / "workers" / "native_leak.c"
# What is built, the part that it should be, and the cause that growth should have.
KINDS = {
    "objects": ("objects", "objects"),
    "fragments": ("pool_free", "fragmentation"),
    "large": ("malloc_used", "objects"),
    "freed": ("malloc_free", "malloc-free"),
    "native": ("malloc_used", "native"),
    "private": ("anonymous", "mapped"),
    "shared": ("shared", "mapped"),
    "stacks": ("stacks", "stacks"),
}
OTHER_PARTS = {"halves": "malloc_free", "mappings": "anonymous"}
SIZES = (
    ("objects", 10),
    ("objects", 100),
    ("objects", 1000),
    ("objects", 2000),
    ("fragments", 1000),
    ("large", 1000),
    ("halves", 2000),
    ("native", 1000),
    ("mappings", 2000),
)
MADE_MB = 60


def residence_rows(*, scale: float) -> Iterator[Row]:
    """Yield all rows; `scale` makes the heaps smaller for a quick run."""
    with tempfile.TemporaryDirectory() as name:
        library = compiled(Path(name))
        yield made_row(library)
        for kind, megabytes in SIZES:
            yield from size_rows(library, kind, max(megabytes * scale, 10))


def compiled(directory: Path) -> Path:
    """Return the library that leaks as an extension does."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Failed("no C compiler")
    library = directory / "native_leak.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE]
    subprocess.run(command, check=True)
    return library


def running(library: Path) -> AbstractContextManager[Target]:
    """Start the target, all of whose threads share one arena of malloc."""
    more = {"MALLOC_ARENA_MAX": "1"}
    return running_program("residence_target.py", library, more=more)


def made_row(library: Path) -> Row:
    """Tell the made situations apart, one after the other in one worker."""
    wrong = []
    with (
        running(library) as target,
        target.session(Scope.READ) as session,
    ):
        for kind, (_, cause) in KINDS.items():
            before = walked(session)
            target.do("grow", kind=kind, megabytes=MADE_MB)
            found = breakdown.causes(before, walked(session))
            told = [one.kind for one in found]
            if told != [cause]:
                wrong.append(f"{kind}: {', '.join(told) or 'nothing'}")
    return Row(
        f"growth told apart: {len(KINDS)} situations of {MADE_MB} MB in one worker",
        f"{len(KINDS) - len(wrong)} of {len(KINDS)}",
        "all",
        "; ".join(wrong) or ", ".join(KINDS),
        "",
        not wrong,
    )


def size_rows(library: Path, kind: str, megabytes: float) -> Iterator[Row]:
    """Build one heap; say whether the parts close on RSS, and what that cost."""
    label = f"{kind}, {megabytes:g} MB"
    with (
        running(library) as target,
        target.session(Scope.READ) as session,
    ):
        before = look(session)
        target.do("grow", kind=kind, megabytes=megabytes)
        rss = target.do("ready")["rss"]
        rest = gap_ms(target, lambda: target.do("rest", seconds=0.5))
        record: dict[str, Any] = {}
        gap = gap_ms(target, lambda: record.update(look(session)))
        off = sum(record[name] for name in breakdown.PARTS) - rss
        part = KINDS[kind][0] if kind in KINDS else OTHER_PARTS[kind]
        grown = (record[part] - before[part]) / MB
        yield Row(
            f"memory closes on RSS: {label}",
            f"{off / MB:+.1f} MB of {rss / MB:.0f}",
            "<= 5 % or 3 MB",
            f"{breakdown.PARTS[part]} +{grown:.0f} MB; other anonymous "
            f"{record['anonymous'] / MB:.1f} MB; {record['n_mappings']:,} mappings",
            f"{100 * off / rss:+.1f} %",
            abs(off) <= max(0.05 * rss, 3 * MB),
        )
        yield Row(
            f"memory, longest gap of who maps and allocates: {label}",
            f"{gap:.1f} ms",
            beside=f"at rest {rest:.1f} ms; memory took {record['seconds']:.2f} s",
        )
        if kind == "halves":
            yield from trim_rows(target, session, record, label)


def trim_rows(
    target: Target, session: Session, record: dict[str, Any], label: str
) -> Iterator[Row]:
    """What malloc's own figures and a trim keep from who allocates."""
    mallinfo = target.do("mallinfo")
    yield Row(
        f"mallinfo2, longest gap of who maps and allocates: {label}",
        f"{mallinfo['gap_ms']:.1f} ms",
        beside=f"{record['n_free_chunks']:,} free chunks",
    )
    told: dict[str, Any] = {}

    def trim() -> None:
        told.update(session.request("trim", {"force": True}).as_dict())  # type: ignore[union-attr]

    gap = gap_ms(target, trim)
    yield Row(
        f"trim, longest gap of who maps and allocates: {label}",
        f"{gap:.1f} ms",
        beside=f"foretold {record['trim_seconds'] * 1e3:.0f} ms, took "
        f"{told['seconds'] * 1e3:.0f} ms, gave {told['given_back'] / MB:.0f} MB back",
    )


def ticker_rows(target: Target, label: str) -> Iterator[Row]:
    """What a thread that only runs feels of `memory` and `trim`."""
    with target.session(Scope.READ) as session:
        for name, args in (("memory", {}), ("trim", {"force": True})):
            gaps = [
                gap_ms(target, lambda: session.request(name, args))  # noqa: B023
                for _ in range(5)
            ]
            yield Row(
                f"{name}, {label}: longest ticker gap, worst of 5",
                f"{max(gaps):.1f} ms",
                beside=f"best {min(gaps):.1f} ms",
            )


def gap_ms(target: Target, act: Any) -> float:
    """Return the ticker's longest gap while something is done."""
    target.do("begin")
    act()
    gap: float = target.do("end")["gap_ms"]
    return gap


def look(session: Session) -> dict[str, Any]:
    return session.request("memory").as_dict()  # type: ignore[union-attr]


def walked(session: Session) -> dict[str, Any]:
    """Return a look and a walk."""
    rows = session.request("histogram", {"top": 5000}).as_dicts()  # type: ignore[union-attr]
    sizes, counts = ([row[name] for row in rows] for name in ("bytes", "count"))
    return {**look(session), "walked_bytes": sum(sizes), "walked_objects": sum(counts)}
