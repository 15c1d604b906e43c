"""A relay that is a bad link: PORT to HOST PORT, each byte late, connections lost.

    bad_link.py PORT HOST PORT DELAY_MS LOST_AFTER...

Every connection is closed by reset after its number of bytes towards the client has
come through, in the order of the numbers; those after the last live. For kernels that
have no netem.
"""

import asyncio
import socket
import struct
import sys

port, host, far_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
delay_s = int(sys.argv[4]) / 1000
lost_after = [int(word) for word in sys.argv[5:]]


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
) -> None:
    """Move bytes one way, each `delay_s` after it came; return at the limit or end."""
    loop = asyncio.get_running_loop()
    late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

    async def take() -> None:
        while data := await reader.read(1 << 14):
            await late.put((loop.time() + delay_s, data))
        await late.put((loop.time() + delay_s, b""))

    taking = asyncio.create_task(take())
    moved = 0
    try:
        while limit is None or moved < limit:
            due, data = await late.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            if not data:
                return
            writer.write(data)
            await writer.drain()
            moved += len(data)
    finally:
        taking.cancel()


async def serve(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    limit = lost_after.pop(0) if lost_after else None
    far, out = await asyncio.open_connection(host, far_port)
    ways = [
        asyncio.create_task(carry(far, back, limit)),
        asyncio.create_task(carry(near, out, None)),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    for writer in (back, out):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def main() -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", port)
    print("up", flush=True)
    await server.serve_forever()


asyncio.run(main())
