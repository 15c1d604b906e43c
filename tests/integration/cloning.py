"""What the tests of clones share: a host that allows them, and questions to a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_host import Host, is_alive, start_host
from contract.minimal_client import MinimalClient
from spawn import Stage, eventually

from liveheap.protocol.auth import Scope
from liveheap.protocol.messages import Chunk, Failure, Result


def cloning_host(stage: Stage, kind: str = "plain", **options: Any) -> Host:
    """Start a host whose owner allows everything."""
    return start_host(stage, kind, env={"LIVEHEAP_ALLOW": "exec"}, **options)


class Copied:
    """A session that has made a copy of its host."""

    def __init__(self, client: MinimalClient, **options: Any) -> None:
        self.client = client
        self.facts: dict[str, Any] = client.request("clone", **options).as_dict()
        self.pid: int = self.facts["pid"]

    def ask(self, code: str, **options: Any) -> tuple[str, dict[str, Any]]:
        """Evaluate; return what it wrote, and the answer. Raises what failed."""
        return self.hear(self.begin(code, **options))

    def begin(self, code: str, **options: Any) -> int:
        return self.client.ask("clone-ask", code=code, whole=True, **options)

    def hear(self, request: int) -> tuple[str, dict[str, Any]]:
        """Take the answers to a question."""
        written = b""
        for message in self.client.answers(request):
            if isinstance(message, Chunk):
                written += bytes(message.data)
            elif isinstance(message, Failure):
                raise message.to_error()
            elif isinstance(message, Result):
                return written.decode(), message.shape.as_dict()  # type: ignore[union-attr]
        raise AssertionError("no answer")

    def say(self, code: str) -> str:
        """Evaluate something that ends well; return what it wrote."""
        text, answer = self.ask(code)
        assert answer["outcome"] == "ok", text
        return text.rstrip("\n")

    def begun(self, code: str, *, first: str = "") -> int:
        """Begin something that says `on` and goes on; return when it has said so."""
        request = self.begin(f"{first}\nprint('on', flush=True)\n{code}")
        for message in self.client.answers(request):
            if isinstance(message, Chunk):
                return request
        raise AssertionError("it has not begun")

    def wait_until_gone(self) -> None:
        """Wait until not even a zombie is left."""
        place = Path(f"/proc/{self.pid}")
        eventually(lambda: not place.exists(), what="the copy is reaped")


@contextmanager
def copied(host: Host, scope: Scope = Scope.EXEC, **options: Any) -> Iterator[Copied]:
    """A copy of a host, for any Python unless the scope is a lower one."""
    options.setdefault("python", scope is Scope.EXEC)
    with host.connect(scope=scope) as client:
        copy = Copied(client, **options)
        yield copy
    eventually(lambda: not is_alive(copy.pid), what="the copy ends with its session")
