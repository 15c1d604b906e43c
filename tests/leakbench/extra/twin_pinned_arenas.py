"""Innocent: of one big batch a few rows stay, and pin the allocator's memory."""

from load import serve

batch = [f"row {number} " + "x" * 60 for number in range(600_000)]
kept = batch[::100]
del batch
serve(lambda number: len(kept))
