"""msgpack, from wherever this process has it.

An agent that was brought into a worker from outside has its own copy beside this file,
under a name that nobody else imports: `import msgpack` in that worker goes on finding
the worker's own, or none.
"""

from __future__ import annotations

from importlib import import_module

BROUGHT = "liveheap.protocol._msgpack"

try:
    found = import_module(BROUGHT)
except ModuleNotFoundError as exc:
    if exc.name != BROUGHT:
        raise
    found = import_module("msgpack")

packb = found.packb
unpackb = found.unpackb
