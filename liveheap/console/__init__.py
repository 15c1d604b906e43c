"""A console in the live worker: Python, on a thread of the agent's, for one session.

The interpreter is manhole's console class, and nothing else of manhole (`loading`,
`interpreter`); its output goes to the client and the application's to where it always
went (`router`). Code runs in a thread of the session's, which is none of the host's:
under gevent it must not switch greenlets. `%main CODE` runs on the main thread instead,
under gevent as a greenlet of its hub, where everything may be called.

What a session has defined, shown or raised lives as long as the session. Its end
interrupts what runs and drops the rest, on the main thread where that can be had:
finalizers of the host's belong there.
"""

from liveheap.console.live import LiveConsole, Surroundings
from liveheap.console.router import ROUTER

__all__ = ["ROUTER", "LiveConsole", "Surroundings"]
