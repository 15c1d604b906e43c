"""A C library is asked for a buffer per request, and its free is never called."""

import ctypes

from load import serve

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
SIZE = 20_000


def handle(number: int) -> None:
    libc.memset(libc.malloc(SIZE), number % 256, SIZE)


serve(handle)
