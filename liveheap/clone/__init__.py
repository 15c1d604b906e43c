"""What runs in a frozen clone: a copy of the worker that goes on as a program of ours.

The agent starts it (`liveheap.agent.copies`) and talks to it over a socket pair. All of
these modules are loaded by the agent's start, because the copy of a worker that got its
agent from outside has nowhere to load them from; they themselves import next to
nothing, and what they need beyond that (heapy, objgraph, traceback) is imported in the
copy.
"""
