"""A small HTTP load over loopback: some connections, one request after the other."""

import http.client
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Load:
    """Clients that ask until they are told to stop, and remember every answer."""

    port: int
    clients: int = 4
    latencies_s: list[float] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.enough = threading.Event()
        self.answered = threading.Semaphore(0)
        self.threads = [
            threading.Thread(target=self.ask_on, name=f"load-{number}")
            for number in range(self.clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        """Return when so many more requests were answered."""
        for _ in range(answers):
            if not self.answered.acquire(timeout=30):
                raise AssertionError(f"no answer for 30 s; {self.failures}")

    def ask_on(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.enough.is_set():
            before = time.perf_counter()
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            else:
                self.latencies_s.append(time.perf_counter() - before)
                self.bodies.add(body)
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}: {body!r}")
            self.answered.release()
        connection.close()
