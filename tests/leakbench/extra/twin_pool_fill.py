"""Innocent: a pool fills to its cap within the first rounds and stays there."""

import socket

from load import serve


class Pool:
    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.idle: list[tuple[socket.socket, socket.socket]] = []

    def use(self, number: int) -> None:
        if len(self.idle) < self.cap and number % 20 == 0:
            self.idle.append(socket.socketpair())


pool = Pool(20)
serve(pool.use)
