"""A leak on demand: for each line on standard input, COUNT (argument, 500) more Leaked
objects stay in SERVICE.cache, a dict held by an instance attribute of a module global.

Says `ready` at the start, and again after each line.
"""

import sys

import stage

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 500


class Leaked:
    def __init__(self, key: int) -> None:
        self.key = key
        self.payload = bytearray(64)


class Service:
    def __init__(self) -> None:
        self.cache: dict[int, Leaked] = {}

    def work(self) -> None:
        for _ in range(COUNT):
            key = len(self.cache)
            self.cache[key] = Leaked(key)


SERVICE = Service()
SERVICE.work()
stage.start_agent()
stage.ready()
for _ in sys.stdin.buffer:
    SERVICE.work()
    stage.ready()
