"""Inject as told on standard input, in forks that die at a given step or time."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from liveheap_client.inject import ptrace, tracee, visits

SETTLES_WITHIN_S = 0.02
STOPS_WITHIN_S = 60.0


def main() -> None:
    visits.SETTLE_S = SETTLES_WITHIN_S
    visits.STOP_WITHIN_S = visits.CLEAR_WITHIN_S = STOPS_WITHIN_S
    for line in sys.stdin:
        order = json.loads(line)
        seconds = order.pop("seconds", None)
        pid = os.fork()
        if not pid:
            inject_and_die(**order)
            os._exit(0)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def inject_and_die(*, pid: int, code: str, step: int, after: bool, **how: Any) -> None:
    """Inject; die before or after that step."""
    steps = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            is_last = steps > step
            if is_last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*args, **kwargs)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    for owner, name in (
        (tracee.Tracee, "_ptrace"),
        (tracee.Tracee, "_wait"),
        (tracee.Memory, "write"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))
    ptrace.inject(pid, code, timeout=60, **how)


if __name__ == "__main__":
    main()
