"""What the bare verbs share in reading their words: argparse, with our errors."""

import argparse
import contextlib
import math
from typing import NoReturn

from liveheap_client.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def parser(verb: str, summary: str, usage: str | None = None) -> Parser:
    """Return the parser of a verb."""
    return Parser(
        prog=f"liveheap {verb}", usage=usage, description=summary, allow_abbrev=False
    )


def seconds(text: str) -> float:
    """Return a time to wait; for argparse, which names the option that has it wrong."""
    with contextlib.suppress(ValueError):
        if 0 < (found := float(text)) < math.inf:
            return found
    raise argparse.ArgumentTypeError(f"not a time in seconds: {text!r}")
