"""The injector in a thread, so that somebody can say meanwhile how it goes.

It ends by itself, in a bounded time. Whoever cannot wait for that, for Ctrl-C was
pressed, need not: it may die at any step, and the worker goes on.
"""

import threading
from types import TracebackType

from liveheap_client.inject import ptrace

AFTER_INTERRUPT_S = 0.5


class Injecting:
    """One injection under way."""

    def __init__(self, pid: int, line: str, *, timeout_s: float) -> None:
        self._pid, self._line, self._timeout_s = pid, line, timeout_s
        self._result: list[ptrace.Injection | Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        was_interrupted = kind is not None and not issubclass(kind, Exception)
        self._thread.join(AFTER_INTERRUPT_S if was_interrupted else None)
