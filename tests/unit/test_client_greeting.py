"""What comes before a bridge's greeting, and what comes instead of it."""

import json

import pytest

from liveheap_client.errors import ConnectError
from liveheap_client.transport.greeting import MAGIC, NOISE_LIMIT, GreetingReader

LINE = json.dumps({"bridge": 1, "ident": "web:1:2:3"}).encode() + b"\n"


def read(data: bytes, *, step: int | None = None) -> GreetingReader:
    reader = GreetingReader()
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        if reader.fields is not None:
            reader.trailing += data[start : start + step]
        else:
            reader.receive(data[start : start + step])
    return reader


@pytest.mark.parametrize("step", [None, 1, 3, 4096])
def test_greeting_is_found_whole_or_byte_by_byte(step: int | None) -> None:
    reader = read(b"welcome\n" + MAGIC + LINE + b"frames", step=step)

    assert reader.fields == {"bridge": 1, "ident": "web:1:2:3"}
    assert reader.trailing == b"frames"


@pytest.mark.parametrize("step", [None, 1000])
def test_noise_of_63_kib_is_skipped(step: int | None) -> None:
    reader = read(b"x" * (63 << 10) + MAGIC + LINE, step=step)

    assert reader.fields is not None


def test_noise_up_to_the_limit_is_skipped_even_if_the_magic_is_cut() -> None:
    reader = GreetingReader()
    reader.receive(b"x" * NOISE_LIMIT + MAGIC[:7])
    reader.receive(MAGIC[7:] + LINE)

    assert reader.fields is not None


@pytest.mark.parametrize("step", [None, 1000])
def test_noise_of_65_kib_is_shown_and_given_up(step: int | None) -> None:
    with pytest.raises(ConnectError, match="64 KiB") as caught:
        read(b"quota exceeded\n" * 5000 + MAGIC + LINE, step=step)

    assert "quota exceeded" in str(caught.value)
    assert caught.value.hint


def test_a_terminal_in_between_is_named() -> None:
    with pytest.raises(ConnectError, match="terminal"):
        read(b"\x93LHEAP\r\r\n" + LINE)


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"[" * 100_000 + b"\n"])
def test_a_greeting_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ConnectError):
        read(MAGIC + line)


def test_noise_is_the_last_lines_of_what_came() -> None:
    reader = read(b"1\n2\n\n3\n4\n5\n")

    assert reader.noise == "2\n3\n4\n5"
