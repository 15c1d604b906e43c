"""`tasks`: what runs and ran by name, and what it leaves, as wide as the screen is."""

from liveheap.commands.tasks import TASKS
from liveheap.protocol.results import Table
from liveheap_client.desk import Desk
from liveheap_client.progress import bar
from liveheap_client.render.narrow import fitting
from liveheap_client.verbs.ask import help_text, show
from liveheap_client.verbs.base import Verb, json_option, target_argument

_GOES = (
    *("blocks_first", "rss_first", "blocks_max", "rss_max"),
    *("overlapped", "measured", "longest", "running"),
)
NOBODY = (
    "no task has had a name so far: those of known frameworks have one, and "
    "liveheap.task gives it to others"
)


def perform(desk: Desk, *, as_json: bool, target: str | None = None) -> int:
    """Ask, and show what fits on the screen."""
    with desk.caller(target) as caller, bar(desk.terminal) as progress:
        progress.update(TASKS.name)
        shape = caller.session(TASKS.scope).request(TASKS.name)
    if as_json or not isinstance(shape, Table):
        show(desk, shape, as_json=as_json)
        return 0
    if not shape.rows and desk.terminal.look.human:
        desk.terminal.say(NOBODY)
        return 0
    lines = fitting(
        shape.columns,
        shape.rows,
        look=desk.terminal.look,
        goes=_GOES,
        elastic=frozenset({"task"}),
    )
    desk.terminal.show(lines)
    return 0


VERB = Verb(
    name=TASKS.name,
    help=help_text(TASKS),
    scope=TASKS.scope,
    perform=perform,
    params=(json_option(),),
    target_params=(target_argument(),),
)
