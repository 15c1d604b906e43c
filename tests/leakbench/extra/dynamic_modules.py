"""A module per tenant is made at run time and stays in sys.modules."""

import sys
import types

from load import serve


def handle(number: int) -> None:
    module = types.ModuleType(f"plugin_{number}")
    exec("def rule(x):\n    return x + 1\n", module.__dict__)
    sys.modules[module.__name__] = module


serve(handle, every_s=0.05)
