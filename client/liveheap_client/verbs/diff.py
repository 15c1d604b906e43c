"""`diff`: what grows, from a live worker over rounds, or from snapshot files."""

from liveheap_client.render import growth as growth_text
from liveheap_client.verbs.growing import Growing, growing_verb

_HELP = """Name what grows, and the path that holds it.

Takes a snapshot in every round, or compares snapshot files, oldest first. Objects
are compared by the path that holds them, never by address. Two rounds are a
comparison; a verdict needs four. The worker stops in each round as long as one fork
takes, some milliseconds.
"""

VERB = growing_verb(
    Growing(
        name="diff",
        help=_HELP,
        interval="60",
        rounds=2,
        lines=growth_text.lines,
        one_screen=False,
    )
)
