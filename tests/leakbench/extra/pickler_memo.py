"""One Pickler for a whole stream: its memo keeps every object ever written."""

import io
import pickle

from load import serve


class Message:
    def __init__(self, number: int) -> None:
        self.number = number
        self.text = f"message {number}"


sink = io.BytesIO()
pickler = pickle.Pickler(sink)


def handle(number: int) -> None:
    pickler.dump(Message(number))
    sink.seek(0)
    sink.truncate()


serve(handle)
