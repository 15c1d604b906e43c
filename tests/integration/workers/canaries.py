"""Values that nobody may see: 2,000 Leaked objects, and as many more for each line on
standard input; their attributes, dict keys and bytes are made of argument 1, a secret.
"""

import sys

import stage

SECRET = sys.argv[1]


class Leaked:
    def __init__(self, number: int) -> None:
        self.text = f"{SECRET}-{number}"
        self.raw = self.text.encode()
        self.by_text = {self.text: number, SECRET + "key": number}


CACHE: list[Leaked] = []


def leak() -> None:
    CACHE.extend(Leaked(number) for number in range(2000))


leak()
stage.start_agent()
stage.ready()
for _ in sys.stdin.buffer:
    leak()
    stage.ready()
