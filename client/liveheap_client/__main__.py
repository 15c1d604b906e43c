"""`liveheap`: find the verb, run it, print what went wrong, choose the exit code.

This file alone prints errors and ends the process. `run`, `bridge` and `ps` go straight
to the standard library; everything else loads the command line, which needs the extra.

    0 ok   1 failed   2 usage   3 cannot connect   4 refused (authentication)
    5 the agent said no   6 bad snapshot file   130 interrupted
"""

import os
import sys
from collections.abc import Sequence

from liveheap.errors import LiveheapError
from liveheap_client import bare
from liveheap_client.errors import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    OK,
    ClientError,
    exit_code,
)
from liveheap_client.render import failure

_EXTRA = frozenset({"click", "rich", "prompt_toolkit", "numpy"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except LiveheapError as error:
        _complain(error)
        return exit_code(error)
    except KeyboardInterrupt:
        _complain(ClientError("interrupted"))
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our stdout has left (`| head`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        _complain(ClientError(str(error)))
        return FAILED
    return code


def _run(words: Sequence[str]) -> int:
    if words and words[0] in bare.SUMMARIES:
        return _bare(words[0], words[1:])
    if words == ["--version"]:
        return _version()
    try:
        from liveheap_client import cli  # noqa: PLC0415 - a bare server has no click

        return cli.run(words)
    except ModuleNotFoundError as exc:
        return _without_extra(words, exc)


def _bare(verb: str, words: Sequence[str]) -> int:
    try:
        return bare.main(verb, words)
    except SystemExit as end:  # argparse, after --help
        return end.code if isinstance(end.code, int) else OK


def _version() -> int:
    from liveheap import __version__  # noqa: PLC0415 - loads the agent's package

    print(f"liveheap {__version__}")
    return OK


def _without_extra(words: Sequence[str], missing: ModuleNotFoundError) -> int:
    if (missing.name or "").partition(".")[0] not in _EXTRA:
        raise missing
    if not words or words[0] in ("-h", "--help"):
        print("\n".join(bare.help_lines()))
        return OK
    raise ClientError(
        f"{words[0]!r} needs the client's packages ({missing.name} is not installed)",
        hint="pip install 'liveheap[cli]'; run, bridge and ps work without",
    )


def _complain(error: LiveheapError) -> None:
    for line in failure.lines(error):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
