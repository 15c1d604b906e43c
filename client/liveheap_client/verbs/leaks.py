"""`leaks`: the guided hunt. Rounds, then one screen with a verdict on top."""

from liveheap_client.render import leaks as leaks_text
from liveheap_client.verbs.growing import Growing, growing_verb

_HELP = """Say whether a worker leaks, what, and who holds it.

Takes five snapshots, 20 s apart, or reads snapshot files, oldest first; then says in
one sentence what grows: Python objects and their holder, references that C code never
gives back, descriptors, memory outside the Python heap, or nothing. The worker stops in
each round as long as one fork takes, some milliseconds.
"""

VERB = growing_verb(
    Growing(
        name="leaks",
        help=_HELP,
        interval="20",
        rounds=5,
        lines=leaks_text.lines,
        one_screen=True,
    )
)
