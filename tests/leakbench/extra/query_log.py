"""A debug setting left on: every query of a connection is logged, as Django does."""

import time

from load import serve


class Connection:
    def __init__(self) -> None:
        self.queries_log = []
        self.in_debug = True

    def execute(self, sql: str, parameters: tuple[object, ...]) -> None:
        begun = time.perf_counter()
        if self.in_debug:
            taken = f"{time.perf_counter() - begun:.3f}"
            text = sql % parameters
            self.queries_log.append({"sql": text, "time": taken})


class Handler:
    def __init__(self) -> None:
        self.connections = {"default": Connection()}


handler = Handler()
SQL = "SELECT id, name, price FROM product WHERE shop = %d AND owner = %r"
serve(lambda n: handler.connections["default"].execute(SQL, (n, f"owner {n}")))
