"""The console class: manhole's, without its hold on the process.

`made_from` joins it with what `loading` found. Of the parents only the compiler and the
namespace are used: `interact` would want a terminal, the parents' `showtraceback` sets
`sys.last_exc`, which keeps the worker's objects alive, and calls `sys.excepthook`,
which may be the application's way to raise an alarm.

Code of several lines runs as if typed one statement after the other, values shown.
"""

from __future__ import annotations

import _ast
import builtins
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from liveheap.console.router import NO_INPUT, NoInput

FILENAME = "<console>"
OURS = {__file__, sys.modules[NoInput.__module__].__file__}
MOST_BEHIND = 100
FUTURES_ONLY = ~(0x200 | 0x4000)  # codeop's DONT_IMPLY_DEDENT, ALLOW_INCOMPLETE_INPUT


@dataclass(frozen=True, slots=True)
class Ending:
    """How an evaluation ended."""

    outcome: str
    raised: str | None = None
    exit_code: int | None = None


class Interpreter:
    """Compiles and runs code in one namespace."""

    locals: dict[str, Any]
    compile: Callable[..., Any]

    def __init__(self, namespace: dict[str, Any], write: Callable[[str], None]) -> None:
        import code  # noqa: PLC0415 - loaded by `loading`, and by nobody before

        code.InteractiveConsole.__init__(self, namespace, FILENAME)  # type: ignore[arg-type]
        self._write = write

    def raw_input(self, prompt: str = "") -> str:
        """Refuse: lines come as commands, and there is no other input."""
        raise NoInput(NO_INPUT)

    def write(self, data: str) -> None:
        """Write to the client."""
        self._write(data)

    def evaluate(self, source: str, *, whole: bool) -> Ending:
        """Run code, and write what became of it. May be interrupted anywhere."""
        self.locals["__builtins__"] = builtins
        try:
            compiled = self._compiled(source, whole=whole)
            if compiled is None:
                return Ending("incomplete")
            exec(compiled, self.locals)
        except SystemExit as exc:
            return Ending("exit", exit_code=self._exit_code(exc.code))
        except BaseException as exc:
            self._tell(exc)
            return Ending("error", raised=str(type(exc).__name__)[:256])
        return Ending("ok")

    def show(self, value: object) -> None:
        """Show the value of an expression: the display hook."""
        if value is None:
            return
        self.locals["_"] = None
        self.write(f"{value!r}\n")
        self.locals["_"] = value

    def _compiled(self, source: str, *, whole: bool) -> CodeType | None:
        """Return the code; None if lines are missing yet."""
        try:
            if not whole:
                compiled: CodeType | None = self.compile(source, FILENAME, "single")
                return compiled
            return self._several(source)
        except SyntaxError:
            if whole:
                raise
            try:
                return self._several(source)
            except SyntaxError:
                pass
            raise

    def _several(self, source: str) -> CodeType:
        """Compile any number of statements as if each had been typed."""
        flags = self.compile.compiler.flags & FUTURES_ONLY  # type: ignore[attr-defined]
        flags |= _ast.PyCF_ONLY_AST
        tree = compile(source, FILENAME, "exec", flags, True)
        several = _ast.Interactive(body=tree.body)
        compiler: Any = self.compile.compiler  # type: ignore[attr-defined]
        compiled: CodeType = compiler(several, FILENAME, "single")
        return compiled

    def _tell(self, exc: BaseException) -> None:
        """Write the traceback, without our own frames."""
        traceback = sys.modules["traceback"]
        try:
            told = traceback.TracebackException.from_exception(exc)
            _leave_us_out(told)
            self.write("".join(told.format()))
        except Exception as other:
            names = type(exc).__name__, type(other).__name__
            self.write("{} (its text cannot be shown: {})\n".format(*names))

    def _exit_code(self, code: object) -> int:
        if code is None or isinstance(code, int):
            return int(code or 0) & 0xFF
        self.write(f"{code}\n")
        return 1


def _leave_us_out(told: Any) -> None:
    """Take the frames of this package out of a traceback, and of those behind it."""
    seen: list[Any] = []
    while told is not None and len(seen) < MOST_BEHIND and told not in seen:
        seen.append(told)
        told.stack[:] = [each for each in told.stack if each.filename not in OURS]
        told = told.__cause__ or told.__context__


def made_from(base: type[Any]) -> type[Any]:
    """Return the class of consoles over manhole's, or whatever took its place."""
    return type("LiveConsole", (Interpreter, base), {})
