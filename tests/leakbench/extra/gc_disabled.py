"""The collector is off, for latency, and requests leave cycles."""

import gc

from load import serve


class Node:
    def __init__(self, number: int) -> None:
        self.number = number
        self.parent: Node | None = None
        self.children: list[Node] = []


def handle(number: int) -> None:
    root = Node(number)
    for _ in range(5):
        child = Node(number)
        child.parent = root
        root.children.append(child)


gc.disable()
serve(handle)
