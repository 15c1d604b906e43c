"""Make text from a worker harmless before a terminal sees it.

Names of types and attributes are chosen by whoever wrote the worker's code, or by its
data. An escape sequence, a newline or a bidi mark in one of them must be seen, not
obeyed; and no name may fill the screen.
"""

LONGEST = 256
_PLAIN_MARKS = str.maketrans("├└│─…▁▂▃▄▅▆▇█▏▎▍▌▋▊▉", "|`|-~_..::+##|||||##")


def visible(text: object, *, longest: int = LONGEST) -> str:
    """Return text with every character that is not plainly printable spelled out."""
    raw = str(text)
    if len(raw) > longest:
        raw = raw[: longest - 1] + "…"
    if raw.isprintable():
        return raw
    return "".join(map(_spelled, raw))


def visible_block(text: object) -> list[str]:
    """Return the lines of a text of several lines, each made harmless."""
    return [visible(line) for line in str(text).split("\n")]


def visible_text(text: str) -> str:
    """Return running text with its newlines and tabs, and nothing else, as they are."""
    plain = text.replace("\n", "").replace("\t", "")
    if plain.isprintable():
        return text
    return "".join(mark if mark in "\n\t" else _spelled(mark) for mark in text)


def drawable(line: str, *, encoding: str | None) -> str:
    """Return a line of ours in the marks that an encoding has."""
    if line.isascii():
        return line
    try:
        line.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return line.translate(_PLAIN_MARKS)
    return line


def _spelled(mark: str) -> str:
    if mark.isprintable():
        return mark
    code = ord(mark)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
