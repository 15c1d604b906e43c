"""One thread, no framework; COUNT (argument, 1,000) Markers live in a module list.

Each Marker has an instance attribute `label`; MARKERS is their only holder.
"""

import sys

import stage


class Marker:
    def __init__(self, number: int) -> None:
        self.label = f"marker-{number}"


COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
MARKERS = [Marker(number) for number in range(COUNT)]

stage.start_agent()
stage.ready()
stage.until_stdin_closes()
