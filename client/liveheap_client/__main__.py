"""`liveheap`: find the verb, run it, print what went wrong, choose the exit code.

This file alone prints errors and ends the process. The verbs of `bare` go straight
to the standard library; everything else loads the command line, which needs the extra.

    0 ok   1 failed   2 usage   3 cannot connect   4 refused (authentication)
    5 the agent said no   6 bad snapshot file   130 interrupted
    141 nobody reads stdout any more   143, 129 ended by SIGTERM, SIGHUP

A fault of ours is one line as well; LIVEHEAP_DEBUG=1 shows its traceback.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

from liveheap.errors import LiveheapError
from liveheap_client import streams
from liveheap_client.errors import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    OK,
    ClientError,
    ReaderLeft,
    exit_code,
)

_EXTRA = frozenset({"click", "rich", "prompt_toolkit", "numpy"})
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Nothing here multiplies matrices, and numpy would start a thread a core for it, which
spin for a quarter of a second. What `run` starts does not inherit it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    streams.prepare()
    with streams.ending_cleanly():
        try:
            return _guarded(words)
        finally:
            streams.settle_stdout()


def _guarded(words: Sequence[str]) -> int:
    try:
        code = _run(words)
        with streams.writing():
            sys.stdout.flush()
    except (ReaderLeft, BrokenPipeError):
        return BROKEN_PIPE
    except LiveheapError as error:
        _complain(error)
        return exit_code(error)
    except KeyboardInterrupt:
        _complain(ClientError("interrupted"))
        return INTERRUPTED
    except MemoryError:
        _complain(ClientError("not enough memory here"))
        return FAILED
    except Exception as error:
        if os.environ.get("LIVEHEAP_DEBUG"):
            raise
        _complain(_of_foreign(error))
        return FAILED
    return code


def _of_foreign(error: Exception) -> ClientError:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return ClientError(f"{place}{error.strerror}")
    return ClientError(
        f"a fault of liveheap's own: {type(error).__name__}: {error}",
        hint="LIVEHEAP_DEBUG=1 shows the traceback; please report it",
    )


def _run(words: Sequence[str]) -> int:
    from liveheap_client import bare  # noqa: PLC0415 - a Ctrl-C meets it guarded

    if words and words[0] in bare.SUMMARIES:
        return _bare(words[0], words[1:])
    if words == ["--version"]:
        return _version()
    os.environ.setdefault(_BLAS_THREADS, "1")
    try:
        from liveheap_client import cli  # noqa: PLC0415 - a bare server has no click

        return cli.run(words)
    except ModuleNotFoundError as exc:
        return _without_extra(words, exc)


def _bare(verb: str, words: Sequence[str]) -> int:
    from liveheap_client import bare  # noqa: PLC0415 - see _run

    try:
        return bare.main(verb, words)
    except SystemExit as end:  # argparse, after --help
        return end.code if isinstance(end.code, int) else OK


def _version() -> int:
    from liveheap import __version__  # noqa: PLC0415 - loads the agent's package

    print(f"liveheap {__version__}")
    return OK


def _without_extra(words: Sequence[str], missing: ModuleNotFoundError) -> int:
    package = (missing.name or "").partition(".")[0]
    if package not in _EXTRA:
        raise missing
    from liveheap_client import bare  # noqa: PLC0415 - see _run

    if not words or words[0] in ("-h", "--help"):
        print("\n".join(bare.help_lines()))
        return OK
    raise ClientError(
        f"{words[0]!r} needs the client's packages ({package} is not installed)",
        hint="pip install 'liveheap[cli]'; without: " + ", ".join(bare.SUMMARIES),
    )


def _complain(error: LiveheapError) -> None:
    import shutil  # noqa: PLC0415 - a bridge that finds its worker needs neither

    from liveheap_client.render import failure  # noqa: PLC0415

    with contextlib.suppress(OSError):
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
        for line in failure.lines(error, width=width):
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
