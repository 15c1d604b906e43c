"""A ProxyCommand: relay stdio to HOST PORT until SHARE bytes came back, then stop.

Says so by opening the FIFO for writing, and from then on moves nothing: it waits for
the far end to vanish. So a test can cut a link at a known place in a transfer.
"""

import os
import selectors
import socket
import sys
from pathlib import Path

SHARE = 200_000

gate, host, port = sys.argv[1:4]
far = socket.create_connection((host, int(port)))
selector = selectors.DefaultSelector()
selector.register(far, selectors.EVENT_READ, "far")
selector.register(0, selectors.EVENT_READ, "near")
come = 0
while come < SHARE:
    for key, _ in selector.select():
        data = far.recv(4096) if key.data == "far" else os.read(0, 4096)
        if not data:
            sys.exit()
        if key.data == "far":
            come += len(data)
            os.write(1, data)
        else:
            far.sendall(data)
Path(gate).write_text("open\n")
while far.recv(1 << 16):
    pass
