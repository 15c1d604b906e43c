"""One target under libFuzzer, led by the coverage of the product's own code.

    python tests/fuzz/one.py NAME [LIBFUZZER_OPTION...] [CORPUS...]

run.py starts it; by hand it repeats a find: `one.py NAME build/fuzz/crash-...`.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1])]
with atheris.instrument_imports(include=["liveheap", "liveheap_client"]):
    from fuzz.targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    (target,) = (target for target in TARGETS if target.name == name)
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


main()
