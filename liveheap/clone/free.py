"""Python in the copy, for scope exec: any code, in a namespace that lasts.

`h`, `hp` and `objgraph` are made when code names them. What the last expression is, is
shown as a prompt of Python's would; `exit()` ends the copy's session, not the worker's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from liveheap.clone.expressions import FILE, parse
from liveheap.clone.tools import NAMES, Missing, Tools

LONGEST_REPR = 64 * 1024


class Interpreter:
    """Runs code and keeps its names."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.names: dict[str, Any] = {
            "__name__": "__clone__",
            "__builtins__": __builtins__,
        }
        sys.displayhook = self._show

    def run(self, code: str, output: Any, *, whole: bool) -> str:
        """Run code; return ok, incomplete, error or exit."""
        import _ast  # noqa: PLC0415 -- built in

        try:
            tree = parse(code, whole=whole)
            if tree is None:
                return "incomplete"
            self._bring(tree)
            *first, last = tree.body or [None]
            if first:
                body = _ast.Module(body=first, type_ignores=[])
                exec(compile(body, FILE, "exec"), self.names)
            if last is not None:
                end = _ast.Interactive(body=[last])
                exec(compile(end, FILE, "single"), self.names)
        except SystemExit:
            return "exit"
        except KeyboardInterrupt:
            raise
        except Missing as exc:
            output.write(f"not here: {exc}\n")
            return "error"
        except BaseException:
            self._complain(output)
            return "error"
        return "ok"

    def _bring(self, tree: Any) -> None:
        """Make what the code names and does not have yet."""
        wanted = {name for name in names_in(tree) if name in NAMES}
        for name in sorted(wanted - set(self.names), reverse=True):
            self.names[name] = self._tools(name)

    def _show(self, value: Any) -> None:
        if value is not None:
            self.names["_"] = value
            text = repr(value)
            cut = "" if len(text) <= LONGEST_REPR else " ..."
            sys.stdout.write(f"{text[:LONGEST_REPR]}{cut}\n")

    def _complain(self, output: Any) -> None:
        """Write the traceback, from the client's code on."""
        import traceback  # noqa: PLC0415 -- in the copy only

        kind, value, trace = sys.exc_info()
        while trace is not None and trace.tb_frame.f_code.co_filename != FILE:
            trace = trace.tb_next
        with suppress(Exception):
            lines = traceback.format_exception(kind, value, trace)
            output.write("".join(lines))


def names_in(tree: Any) -> Iterator[str]:
    """Yield each name that code refers to, imports included."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
            continue
        fields = getattr(node, "_fields", None)
        if fields is None:
            continue
        if type(node).__name__ == "Name":
            yield node.id
        if type(node).__name__ == "Import":
            yield from (each.name for each in node.names)
        if type(node).__name__ == "ImportFrom":
            yield str(node.module)
        waiting.extend(getattr(node, field, None) for field in fields)
