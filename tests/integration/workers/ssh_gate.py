"""A ProxyCommand: relay stdio to HOST PORT until so many bytes came back, then stop.

Each connection takes its share from the first line of GATE.shares; without a line there
is no gate. A gate that stops says so by opening the FIFO for writing, and from then on
moves nothing: it waits for the far end to vanish. So a test can cut a link at known
places in a transfer.
"""

import os
import selectors
import socket
import sys
from pathlib import Path

gate, host, port = sys.argv[1:4]
shares = Path(f"{gate}.shares")
first, *others = (shares.exists() and shares.read_text().split()) or [""]
shares.write_text(" ".join(others))
share = int(first) if first else None
far = socket.create_connection((host, int(port)))
selector = selectors.DefaultSelector()
selector.register(far, selectors.EVENT_READ, "far")
selector.register(0, selectors.EVENT_READ, "near")
come = 0
while share is None or come < share:
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
