"""Stop the main thread of a process and let it go at once, and change nothing.

A wait in epoll ends by that, as by a signal that nobody handles: the interpreter comes
by its next safe point, looks what there is to do, and waits on.
"""

import ctypes
import os
import time

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WAIT_ALL = 0x40000000
WITHIN_S = 0.5
LOOK_EVERY_S = 0.0005

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def nudge(pid: int) -> bool:
    """Stop and go; False if the process may not be stopped, or does not stop."""
    if _ptrace(SEIZE, pid, 0, 0) == -1:
        return False
    _ptrace(INTERRUPT, pid, 0, 0)
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        try:
            found, status = os.waitpid(pid, WAIT_ALL | os.WNOHANG)
        except ChildProcessError:
            return False
        if found:
            if os.WIFSTOPPED(status):
                _ptrace(DETACH, pid, 0, _signal_of(status))
                return True
            return False
        time.sleep(LOOK_EVERY_S)
    return False


def _signal_of(status: int) -> int:
    """Return the signal to pass on, where it was one that stopped it and not we."""
    was_ours = status >> 16 != 0
    return 0 if was_ours else os.WSTOPSIG(status)
