"""`liveheap doctor`: says in words what hinders, and what to type.

One file per family of checks. Each has the facts that it needs (a frozen dataclass), a
`look` that gathers them from /proc, the registry or the agent, and a `judge` that makes
findings of them and touches nothing: so every verdict is tested with made-up facts.
`checkup.py` has the families as one explicit tuple and gives each a bounded time.

Nothing here changes anything: no directory is made, nobody is stopped, no name is
unlinked that a listing would not unlink. What an agent would do in the worker is not
tried out but foretold from the same facts as there.

Standard library only: this runs on bare servers.
"""
