"""The worker's side of forking.Program: lines of JSON out, empty lines in."""

import json
import os
import sys
from typing import Any

WALL = 0x40000000


def tell(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def wait_for_word() -> None:
    sys.stdin.readline()


def wait_until_stopped(pid: int) -> None:
    os.waitpid(pid, os.WUNTRACED | WALL)
