"""One question to several hosts, side by side.

At most AT_ONCE at a time: each is an ssh of its own, and a list of two hundred hosts
shall not start two hundred at once. A host that fails is an answer as well, and loses
none of the others. Nobody is asked for a password meanwhile: whoever calls says so to
ssh. The threads are daemons, and so a Ctrl-C waits for no slow host; theirs are the
processes that it ends.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from liveheap.errors import LiveheapError

AT_ONCE = 8

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Found]):
    """What a host said; or why it did not."""

    host: str
    found: Found | None
    error: LiveheapError | None = None

    @property
    def failure(self) -> str:
        """Return the error in one line; empty if there is none."""
        lines = str(self.error or "").splitlines()
        return ": ".join(line.strip() for line in lines if line.strip())


def ask(
    hosts: Sequence[str],
    question: Callable[[str], Found],
    *,
    on_answer: Callable[[int], None] = lambda _count: None,
) -> list[Answer[Found]]:
    """Ask all hosts; return their answers in the order of the hosts.

    `on_answer` is told how many have answered. What is no LiveheapError is raised.
    """
    todo = deque(enumerate(hosts))
    done: queue.SimpleQueue[tuple[int, Answer[Found] | BaseException]]
    done = queue.SimpleQueue()

    def work() -> None:
        while todo:
            try:
                place, host = todo.popleft()
            except IndexError:
                return
            try:
                done.put((place, Answer(host, question(host))))
            except LiveheapError as error:
                done.put((place, Answer(host, None, error)))
            except BaseException as fault:
                done.put((place, fault))

    for _ in range(min(AT_ONCE, len(hosts))):
        threading.Thread(target=work, daemon=True).start()
    answers: dict[int, Answer[Found]] = {}
    try:
        while len(answers) < len(hosts):
            place, answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            answers[place] = answer
            on_answer(len(answers))
    finally:
        todo.clear()
    return [answers[place] for place in range(len(hosts))]
