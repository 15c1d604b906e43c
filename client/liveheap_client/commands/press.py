"""Pack what an agent sent as it was, before it goes into a file.

Over a fast link an agent leaves the packing to us: it is its machine that must not be
slow. So it happens here, on threads of their own, and a file is as small as if its
chunks had come packed. Order is kept, and what waits is bounded: who sends more waits.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from liveheap.commands.spooled import compressor
from liveheap.protocol.messages import CODEC_STORED, CODEC_ZSTD

THREADS = 2
MOST_WAITING = 4

Packed = tuple[int, int, bytes]


class Press:
    """Hands chunks on as codec, raw length and data, in the order they came."""

    def __init__(self, write: Callable[[int, int, bytes], object]) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(THREADS, "liveheap-press")
        self._own = threading.local()
        self._waiting: deque[Future[Packed]] = deque()

    def chunk(self, codec: int, raw_length: int, data: bytes) -> None:
        """Take one chunk."""
        if codec != CODEC_STORED:
            self.flush()
            self._write(codec, raw_length, data)
            return
        self._waiting.append(self._pool.submit(self._pack, data))
        self._hand_on(MOST_WAITING)

    def flush(self) -> None:
        """Hand on all that waits."""
        self._hand_on(0)

    def close(self) -> None:
        """Let what waits go."""
        self._pool.shutdown(cancel_futures=True)

    def _hand_on(self, n_waiting: int) -> None:
        while len(self._waiting) > n_waiting:
            self._write(*self._waiting.popleft().result())

    def _pack(self, data: bytes) -> Packed:
        import zstandard  # noqa: PLC0415 - most clients never pack

        if not hasattr(self._own, "compress"):
            self._own.compress = compressor(zstandard)
        packed: bytes = self._own.compress(data)
        if len(packed) < len(data):
            return CODEC_ZSTD, len(data), packed
        return CODEC_STORED, len(data), data
