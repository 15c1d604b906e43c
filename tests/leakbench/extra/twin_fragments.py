"""Innocent: batches of growing size come and go, and a few small rows of each stay."""

from load import serve

kept: list[str] = [""] * 2000


def handle(number: int) -> None:
    batch = [f"row {number}.{row} " + "x" * 100 for row in range(200 * number)]
    for place in range(0, len(batch), 50):
        kept[(number * 37 + place) % len(kept)] = batch[place]


serve(handle, every_s=0.02)
