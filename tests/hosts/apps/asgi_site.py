"""An ASGI application: a request to /pack/GATE waits for that gate."""

import parcels


async def application(scope: dict, receive: object, send: object) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    gate = scope["path"].rpartition("/")[2]
    await parcels.pack_async("request", "GET", None, gate)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
