"""`demo`: a leaking worker, and the verbs that find the leak, in under a minute."""

from liveheap_client.desk import Desk
from liveheap_client.verbs.base import Verb


def perform(_desk: Desk) -> int:
    """Run the demo."""
    from liveheap_client.demo import main  # noqa: PLC0415 - nobody else pays for it

    return main([])


VERB = Verb(
    name="demo",
    help="Watch a leaking gevent worker from start to verdict. Takes under a minute.",
    perform=perform,
    connects=False,
    in_shell=False,
)
