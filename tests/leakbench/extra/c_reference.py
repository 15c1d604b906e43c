"""A C function takes a reference to each message and never gives it back."""

import ctypes

from load import serve


class Message:
    def __init__(self, number: int) -> None:
        self.number = number
        self.body = {"text": f"message {number}"}


take = ctypes.pythonapi.Py_IncRef
take.argtypes = [ctypes.py_object]
take.restype = None

serve(lambda number: take(Message(number)))
