"""What the bare verbs share in reading their words: argparse, with our errors."""

import argparse
import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from liveheap_client.errors import UsageError

if TYPE_CHECKING:
    from liveheap_client.dial import DialOptions


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def parser(verb: str, summary: str, usage: str | None = None) -> Parser:
    """Return the parser of a verb."""
    return Parser(
        prog=f"liveheap {verb}", usage=usage, description=summary, allow_abbrev=False
    )


def add_connecting(reader: argparse.ArgumentParser) -> None:
    """Let a verb's words say how to connect; `options` reads them."""
    reader.add_argument(
        "--connect-timeout",
        type=seconds,
        metavar="S",
        help="give up if no connection stands after this long",
    )
    reader.add_argument("--no-mux", action="store_true", help="share no connection")
    reader.add_argument(
        "--remote-command", metavar="CMD", help="liveheap's name on that host"
    )


def options(
    given: argparse.Namespace, *, say: Callable[[str], None] | None = None
) -> "DialOptions":
    """Return how to connect, as the words say. `say`: for what takes long."""
    # Imported here: a list of this machine's workers shall not wait for ssh's code.
    from liveheap_client.dial import (  # noqa: PLC0415
        CONNECT_TIMEOUT_S,
        DialOptions,
    )
    from liveheap_client.patience import Patience  # noqa: PLC0415

    return DialOptions(
        connect_timeout_s=given.connect_timeout or CONNECT_TIMEOUT_S,
        multiplex=not given.no_mux,
        remote_command=given.remote_command,
        patience=Patience(say=say) if say else Patience(),
    )


def seconds(text: str) -> float:
    """Return a time to wait; for argparse, which names the option that has it wrong."""
    with contextlib.suppress(ValueError):
        if 0 < (found := float(text)) < math.inf:
            return found
    raise argparse.ArgumentTypeError(f"not a time in seconds: {text!r}")
