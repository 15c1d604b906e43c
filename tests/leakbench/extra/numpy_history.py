"""A metrics history that keeps a numpy array per batch, without a window."""

import numpy as np
from load import serve


class Monitor:
    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def observe(self, number: int) -> None:
        self.batches.append(np.full(4000, number, dtype=np.float64))


monitor = Monitor()
serve(monitor.observe, every_s=0.02)
