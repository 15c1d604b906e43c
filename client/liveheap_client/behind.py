"""A gateway met on the way: ask it who is behind it, or be led to one of them.

Whoever dials a port does not know whether an agent or a gateway listens there; its
ident tells. After `worker` the stream is that worker's own session, as if its socket
had been dialled. What a gateway says comes from another machine, and is checked like a
bridge's greeting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from liveheap.errors import AuthenticationError
from liveheap.protocol.auth import Agreed, Ident
from liveheap.protocol.connection import CLOSED, NEED_DATA, Connection
from liveheap.protocol.exchange import GATEWAY
from liveheap.protocol.messages import Failure, Request, Result, Role
from liveheap.protocol.results import Record
from liveheap_client import bridged
from liveheap_client import patience as waiting
from liveheap_client.errors import ConnectError
from liveheap_client.patience import Patience
from liveheap_client.target import Target
from liveheap_client.transport.base import Transport


def is_gateway(agreed: Agreed) -> bool:
    """Whether a gateway answered, and no worker."""
    try:
        return Ident.parse(agreed.ident).instance.startswith(GATEWAY)
    except ValueError:
        return False


def check_agent(agreed: Agreed, target: Target) -> None:
    """Raise an error if a port's own agent is not the worker that was named."""
    if target.port is None or (target.pid is None and target.name is None):
        return
    pid = Ident.parse(agreed.ident).pid
    if target.name is not None:
        raise ConnectError(
            f"an agent listens there, process {pid}, and no gateway",
            hint=f"without a name: {str(target).partition('/')[0]}",
        )
    if target.pid != pid:
        raise AuthenticationError(
            f"asked for process {target.pid}, {pid} answered", code="wrong-worker"
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """A proven gateway at the other end of a stream."""

    transport: Transport
    met: Agreed
    trailing: bytes
    target: Target
    patience: Patience

    def enter(self) -> Agreed:
        """Be led to the worker that is named; return what was agreed with it."""
        wanted = {"pid": self.target.pid, "name": self.target.name}
        args = {name: value for name, value in wanted.items() if value is not None}
        fields = self._ask("worker", args)
        agreed = bridged.agreed(fields, self.target, self.met.scope)
        return replace(agreed, expiry=self.met.expiry)

    def listed(self) -> list[dict[str, Any]]:
        """Return the rows of the workers behind it."""
        rows = self._ask("workers", {}).get("workers")
        if not isinstance(rows, list):
            raise ConnectError(f"{self.target} did not list its workers")
        return [row for row in rows if isinstance(row, dict)]

    def _ask(self, command: str, args: dict[str, Any]) -> Mapping[str, Any]:
        connection = Connection(Role.CLIENT, agreed=self.met)
        if self.trailing:
            connection.receive_data(self.trailing)
        self.transport.send(connection.send(Request(1, command, args)))
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                data = waiting.receive(self.transport, self.patience, pid=None)
                if not data:
                    raise self.transport.why_ended()
                connection.receive_data(data)
            elif isinstance(event, Failure):
                raise bridged.error({"error": "failed", **event.detail}, self.target)
            elif isinstance(event, Result) and isinstance(event.shape, Record):
                return event.shape.as_dict()
            elif event is CLOSED or isinstance(event, Result):
                raise ConnectError(f"the gateway at {self.target} answered strangely")
