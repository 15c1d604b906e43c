"""msgpack, from wherever this process has it.

An agent that was brought into a worker from outside has its own copy beside this file,
under a name that nobody else imports: `import msgpack` in that worker goes on finding
the worker's own, or none.
"""

from __future__ import annotations

try:
    from liveheap.protocol import _msgpack as found  # type: ignore[attr-defined]
except ImportError:
    import msgpack as found

packb = found.packb
unpackb = found.unpackb
