"""Four threads, each holding a ThreadOnly that only a local of its frame refers to."""

import threading

import stage


class ThreadOnly:
    def __init__(self, number: int) -> None:
        self.number = number


def hold(number: int) -> None:
    only_here = ThreadOnly(number)
    standing.wait()
    finish.wait()
    del only_here


N_THREADS = 4
standing = threading.Barrier(N_THREADS + 1)
finish = threading.Event()
threads = [threading.Thread(target=hold, args=(n,)) for n in range(N_THREADS)]
for thread in threads:
    thread.start()
standing.wait()

stage.start_agent()
stage.ready()
stage.until_stdin_closes()
finish.set()
for thread in threads:
    thread.join()
