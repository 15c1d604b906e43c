"""Reads a pprof profile, by the numbers that profile.proto gives its fields."""

from __future__ import annotations

import gzip
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class Sample:
    stack: tuple[str, ...]
    values: dict[str, int]
    labels: dict[str, str]


@dataclass(frozen=True)
class Profile:
    samples: list[Sample]
    comments: list[str]
    default: str
    strings: list[str]
    time_ns: int

    def cumulative(self, function: str) -> dict[str, int]:
        """Return what pprof's `-cum` column says of a function."""
        sums: dict[str, int] = defaultdict(int)
        for sample in self.samples:
            if function in sample.stack:
                for kind, value in sample.values.items():
                    sums[kind] += value
        return dict(sums)


def read(path: Path) -> Profile:
    profile = fields(gzip.decompress(path.read_bytes()))
    strings = [text.decode() for text in blobs(profile, 6)]
    assert strings[0] == ""
    assert len(set(strings)) == len(strings)
    kinds = [fields(kind) for kind in blobs(profile, 1)]
    names = [strings[number(kind, 1)] for kind in kinds]
    assert [strings[number(kind, 2)] for kind in kinds] == ["count", "bytes"]
    functions = {
        number(one, 1): strings[number(one, 2)]
        for one in map(fields, blobs(profile, 5))
    }
    locations = {}
    for location in map(fields, blobs(profile, 4)):
        (line,) = map(fields, blobs(location, 4))
        locations[number(location, 1)] = functions[number(line, 1)]
    assert 0 not in functions
    assert 0 not in locations
    samples = []
    for one in map(fields, blobs(profile, 2)):
        stack = tuple(locations[i] for i in numbers(blobs(one, 1)[0]))
        values = numbers(blobs(one, 2)[0])
        assert len(values) == len(names)
        labels = {
            strings[number(label, 1)]: strings[number(label, 2)]
            for label in map(fields, blobs(one, 3))
        }
        samples.append(Sample(stack, dict(zip(names, values, strict=True)), labels))
    return Profile(
        samples=samples,
        comments=[strings[int(i)] for i in profile[13]],
        default=strings[number(profile, 14)],
        strings=strings,
        time_ns=number(profile, 9),
    )


def fields(data: bytes) -> Fields:
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value: int | bytes
        value, at = varint(data, at)
        assert key & 7 in (0, 2), f"wire type {key & 7}"
        if key & 7 == 2:
            length = value
            value, at = data[at : at + length], at + length
            assert len(value) == length
        found[key >> 3].append(value)
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def numbers(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(value)
    return found


def number(one: Fields, field: int) -> int:
    (value,) = one.get(field, [0])
    assert isinstance(value, int)
    return value


def blobs(one: Fields, field: int) -> list[bytes]:
    return [value for value in one[field] if isinstance(value, bytes)]
