"""Two tasks in turns, one at a time: one keeps something, the other works and does not.

A line on stdin is a step: RUNS runs of each.
"""

import sys

import stage

stage.start_agent()

import liveheap  # noqa: E402 (as an application that is started by the agent would)

RUNS = 40


class Row:
    def __init__(self, number: int) -> None:
        self.parts = [[number], [number]]


class Ledger:
    def __init__(self) -> None:
        self.rows: list[Row] = []


LEDGER = Ledger()


@liveheap.task("shop.import_orders")
def import_orders() -> None:
    LEDGER.rows.extend(Row(number) for number in range(25))


@liveheap.task("shop.render")
def render() -> int:
    return len(str([[number] for number in range(300)]))


stage.ready()
for _line in sys.stdin:
    for _ in range(RUNS):
        import_orders()
        render()
    stage.ready()
