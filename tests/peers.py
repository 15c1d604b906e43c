"""Two ends of the protocol joined in memory, and the recorder of older peers.

Run as a script it writes `tests/data/peer-v1-*.hex`: what a client and an agent of
protocol 1 say to each other, byte by byte. Those files are older peers for every later
version, so record them again only to correct a recording, never because a test fails.
"""

from pathlib import Path

from liveheap.protocol.auth import AgentHandshake, ClientHandshake, Scope
from liveheap.protocol.connection import Connection, Role
from liveheap.protocol.messages import (
    Cancel,
    Chunk,
    Failure,
    Message,
    Progress,
    Request,
    Result,
)
from liveheap.protocol.results import Blob, Column, Record, Table, Tree, TreeNode

DATA = Path(__file__).parent / "data"
TOKEN = bytes(range(32))
CNONCE = b"\xc1" * 32
SNONCE = b"\x5e" * 32
SESSION_ID = b"\x01" * 8
IDENT = "web-3:4711:918273:1"

CONVERSATION: tuple[Message, ...] = (
    Request(1, "status", {}),
    Result(1, Record((("pid", "count", 4711), ("rss", "bytes", 104857600)))),
    Request(2, "snapshot", {"force": True, "max_pause_ms": 100.5}),
    Progress(2, "header", 0, None, {"header": {"python": "3.12.1"}}),
    Chunk(2, 0, 5, 0, b"nodes"),
    Request(3, "histogram", {"limit": 2}),
    Progress(2, "walk", 10, 20),
    Cancel(2),
    Failure(2, "cancelled", "the client asked for it", "liveheap snapshot", {"at": 5}),
    Result(
        3,
        Table(
            (Column("type", "text"), Column("count", "count")),
            (("dict", 12), ("größer", 3)),
        ),
    ),
    Request(2, "backrefs", {"type": "Job"}),
    Result(2, Tree(TreeNode("Job", (("n", "count", 7),), (TreeNode("dict"),)))),
    Request(4, "snapshot"),
    Chunk(4, 0, 1048576, 1, bytes(range(256))),
    Result(4, Blob({"version": 1}, {"complete": True, "sha256": "00" * 32})),
)


def client_side(scope: Scope = Scope.GRAPH, **more: object) -> ClientHandshake:
    """A client with the fixed token and nonce."""
    return ClientHandshake(TOKEN, scope, **{"nonce": CNONCE, **more})


def agent_side(ceiling: Scope = Scope.GRAPH, **more: object) -> AgentHandshake:
    """An agent with the fixed token, nonce, ident and session id."""
    fixed = {"nonce": SNONCE, "session_id": SESSION_ID}
    return AgentHandshake(lambda: TOKEN, IDENT, ceiling, **{**fixed, **more})


def shake(client: ClientHandshake, agent: AgentHandshake) -> list[tuple[str, bytes]]:
    """Carry the messages between two sides until both are done."""
    said = []
    while not (client.done and agent.done):
        for speaker, name, listener in (
            (client, "client", agent),
            (agent, "agent", client),
        ):
            data = speaker.data_to_send()
            if data:
                said.append((name, data))
                listener.receive(data)
    return said


def connected(scope: Scope = Scope.GRAPH) -> tuple[Connection, Connection]:
    """A client's and an agent's connection after their handshake."""
    client, agent = client_side(scope), agent_side(Scope.EXEC)
    shake(client, agent)
    return (
        Connection(Role.CLIENT, handshake=client),
        Connection(Role.AGENT, handshake=agent),
    )


def converse(client: Connection, agent: Connection) -> list[tuple[str, bytes]]:
    """Hold the conversation; each end must hear what the other sent."""
    said = []
    for message in CONVERSATION:
        from_client = isinstance(message, (Request, Cancel))
        speaker, listener = (client, agent) if from_client else (agent, client)
        said.append((speaker.role.value, speaker.send(message)))
        listener.receive_data(said[-1][1])
        assert listener.next_event() == message
    return said


def read_recording(name: str) -> list[tuple[str, bytes]]:
    """Who said which bytes, in order."""
    lines = (DATA / name).read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return [(who, bytes.fromhex(said)) for who, said in words]


def _record(max_version_of_client: int) -> list[tuple[str, bytes]]:
    client, agent = client_side(max_version=max_version_of_client), agent_side()
    return shake(client, agent) + converse(
        Connection(Role.CLIENT, handshake=client),
        Connection(Role.AGENT, handshake=agent),
    )


def main() -> None:
    """Write both recordings."""
    for name, version, head in (
        ("peer-v1-session.hex", 1, "A client and an agent of protocol 1."),
        ("peer-v1-agent-newer-client.hex", 2, "An agent of protocol 1, asked for 2."),
    ):
        lines = [f"# {head} Made by tests/peers.py; who, then the bytes."]
        lines += [f"{who} {data.hex()}" for who, data in _record(version)]
        (DATA / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
