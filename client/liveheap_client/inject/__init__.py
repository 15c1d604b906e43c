"""Bring an agent into a worker that has none, without a restart.

`ladder` walks the ways in, from the mildest to the strongest: an agent that is there
already, the worker's own manhole, `sys.remote_exec`, ptrace. `luggage` carries the
agent's package to a place that the worker can read, and `bootstrap` is what runs in it.
"""
