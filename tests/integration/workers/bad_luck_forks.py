"""A plain worker that forks for each line on standard input, sessions and all.

The children say `PID ready` and live until the worker is gone; with the argument
`stay` until the pipe of the test, which the worker's death does not close, is gone.
"""

import os
import select
import sys

import stage

ALIVE, HELD = os.pipe()


def child() -> None:
    os.close(HELD)
    stage.ready(os.getpid())
    if "stay" in sys.argv:
        gone = select.poll()
        gone.register(int(os.environ["READY_FD"]), 0)
        gone.poll()
    os.read(ALIVE, 1)
    os._exit(0)


stage.start_agent()
stage.ready()
for _ in sys.stdin.buffer:
    if os.fork() == 0:
        child()
