"""The README's tables that scripts write: each between marks of its own."""

from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def marks(name: str) -> tuple[str, str]:
    """Return what stands before and after a table."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def put(name: str, text: str, readme: Path = README) -> None:
    """Write a text between its marks; where there are none, nowhere."""
    before, after = marks(name)
    head, begin, rest = readme.read_text(encoding="utf-8").partition(before)
    _, end, tail = rest.partition(after)
    if begin and end:
        whole = f"{head}{begin}\n{text}\n{end}{tail}"
        readme.write_text(whole, encoding="utf-8")
