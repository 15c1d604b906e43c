"""Small slices of large buffers: a memoryview of ten bytes keeps a hundred KiB."""

from load import serve


class Parser:
    def __init__(self) -> None:
        self.headers: list[memoryview] = []

    def feed(self, body: bytes) -> None:
        self.headers.append(memoryview(body)[:10])


parser = Parser()
serve(lambda number: parser.feed(b"%010d" % number + b"x" * 100_000), every_s=0.02)
