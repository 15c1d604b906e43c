"""Innocent: rows gather for a bulk insert, which empties the list every few seconds."""

from load import serve


class Row:
    def __init__(self, number: int) -> None:
        self.values = (number, f"row {number}")


class Writer:
    def __init__(self) -> None:
        self.pending: list[Row] = []

    def add(self, number: int) -> None:
        self.pending.append(Row(number))
        if len(self.pending) == 300:
            self.pending.clear()


writer = Writer()
serve(writer.add)
