"""Types by what they tell: `app.Row` says what an object is, `dict` does not."""

import sys


def says_what(kind: str) -> bool:
    """Tell whether a type is an application's or a library's, and not Python's own."""
    module, dot, _ = kind.partition(".")
    return bool(dot) and module not in sys.stdlib_module_names
