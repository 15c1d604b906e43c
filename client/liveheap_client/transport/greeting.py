"""The first bytes of a bridge: noise, the magic, one line of JSON.

A login shell may print before the bridge can: a message of the day, an `echo` in
.bashrc. Up to 64 KiB of that is skipped; more means that no bridge is there. Bytes in,
a greeting out; what follows the line belongs to the session.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from liveheap_client.errors import ConnectError
from liveheap_client.transport.relay import MAGIC

NOISE_LIMIT = 64 << 10
LINE_LIMIT = 1 << 20

_MANGLED = (b"\x93LHEAP\n", b"\x93LHEAP\r\r\n")


@dataclass(slots=True)
class GreetingReader:
    """Finds the greeting in a stream; `fields` is None until it is complete."""

    fields: dict[str, Any] | None = None
    trailing: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)
    _magic_seen: bool = False

    def receive(self, data: bytes) -> None:
        """Take bytes. Raise ConnectError if they cannot be a greeting."""
        self._buffer += data
        if not self._magic_seen:
            self._look_for_magic()
        if self._magic_seen and self.fields is None:
            self._look_for_line()

    @property
    def noise(self) -> str:
        """Return the last lines of what came instead of a greeting."""
        text = self._buffer[-2000:].decode("utf-8", "replace")
        return "\n".join([line for line in text.splitlines() if line.strip()][-4:])

    def _look_for_magic(self) -> None:
        start = self._buffer.find(MAGIC)
        noise_bytes = start if start >= 0 else len(self._buffer) - len(MAGIC) + 1
        if noise_bytes > NOISE_LIMIT:
            raise ConnectError(
                f"more than {NOISE_LIMIT >> 10} KiB came before any word of liveheap:\n"
                f"{self.noise}",
                hint="let the shell's start files print nothing when not interactive",
            )
        if start >= 0:
            del self._buffer[: start + len(MAGIC)]
            self._magic_seen = True
        elif any(mangled in self._buffer for mangled in _MANGLED):
            raise ConnectError(
                "a terminal in between mangles the bytes",
                hint="no -t: docker exec -i, kubectl exec -i, ssh -T",
            )

    def _look_for_line(self) -> None:
        line, newline, rest = bytes(self._buffer).partition(b"\n")
        if not newline:
            if len(line) > LINE_LIMIT:
                raise ConnectError("the bridge's greeting does not end")
            return
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise ConnectError("the bridge's greeting is not JSON") from exc
        if not isinstance(fields, dict):
            raise ConnectError("the bridge's greeting is not a JSON object")
        self.fields = fields
        self.trailing = rest
