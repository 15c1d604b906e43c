"""A job every few seconds keeps its report: rounds without growth lie between."""

from load import serve


class ReportRow:
    def __init__(self, number: int) -> None:
        self.text = f"row {number}"


REPORTS: dict[int, list[ReportRow]] = {}


def handle(number: int) -> None:
    if number % 250 == 0:
        REPORTS[number] = [ReportRow(row) for row in range(2000)]


serve(handle)
