"""The injector in a thread, so that somebody can say meanwhile how it goes.

It ends by itself, in a bounded time, and is always waited for: nobody else could let
the worker go.
"""

import threading

from liveheap_client.inject import ptrace


class Injecting:
    """One injection under way."""

    def __init__(self, pid: int, line: str, *, timeout_s: float) -> None:
        self._pid, self._line, self._timeout_s = pid, line, timeout_s
        self._result: list[ptrace.Injection | Exception] = []
        self._thread = threading.Thread(target=self._run)

    @property
    def done(self) -> ptrace.Injection:
        """What was done; the error that it met is raised."""
        result = self._result[0]
        if isinstance(result, Exception):
            raise result
        return result

    def check(self) -> None:
        """Raise what has kept it from giving the worker its line."""
        if self._result:
            _ = self.done

    def _run(self) -> None:
        try:
            done = ptrace.inject(self._pid, self._line, timeout=self._timeout_s)
            self._result.append(done)
        except Exception as exc:
            self._result.append(exc)

    def __enter__(self) -> "Injecting":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._thread.join()
