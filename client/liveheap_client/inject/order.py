"""In which order to import the agent's modules, so that it can be done bit by bit.

A module comes after all that it imports itself, those of the standard library included.
So each step imports one module and nothing else, and the worker may do something of its
own between any two.
"""

import ast
from collections.abc import Iterator, Mapping


def order(files: Mapping[str, bytes], entry: str) -> list[str]:
    """Return what to import until `entry` is there, each name after what it needs."""
    found: dict[str, None] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        source = _source(files, name)
        for needed in _imports(source) if source is not None else ():
            visit(needed)
        found[name] = None

    visit(entry)
    package = entry.partition(".")[0]
    own = [name for name in found if name.partition(".")[0] == package]
    return [name for name in found if name not in own or _source(files, name)]


def _source(files: Mapping[str, bytes], name: str) -> bytes | None:
    path = name.replace(".", "/")
    return files.get(f"{path}.py") or files.get(f"{path}/__init__.py")


def _imports(source: bytes) -> Iterator[str]:
    """Yield the names that a module may import when it is itself imported."""
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Try):
            yield from _statements(node.body)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
