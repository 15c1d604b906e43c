"""`console`: Python in the live worker, in a session of its own that ends with it."""

import click

from liveheap.commands.console import CONSOLE, CONSOLE_COMPLETE
from liveheap.commands.evaluating import OUTPUT
from liveheap.errors import CommandError
from liveheap.protocol.results import Record
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.session import Session
from liveheap_client.shell import repl
from liveheap_client.verbs.ask import option
from liveheap_client.verbs.base import Verb, json_option, target_argument

_HELP = """Run Python in the live worker.

Off, unless the worker was started with LIVEHEAP_ALLOW=exec. Code runs in a thread of
its own and holds the GIL as any code does; under gevent it must not wait for anything
of gevent's there. A line that begins with %main runs on the main thread instead, or
as a greenlet of its hub. Every line stands in the worker's audit log before it runs.

Tab completes without running anything; Ctrl-C interrupts; Ctrl-D or exit() leaves, and
what was defined goes. Without a terminal, the code is read from stdin.
"""


def perform(
    desk: Desk,
    *,
    code: str | None,
    max_output: int,
    as_json: bool,
    target: str | None = None,
) -> int:
    """Open a session of scope exec; run the code, or talk."""
    if as_json and code is None:
        raise UsageError("--json is for one piece of code", hint="console -c CODE")
    with desk.caller(target) as caller, caller.apart(CONSOLE.scope) as session:
        evaluate = repl.asking(session, CONSOLE.name, max_output=max_output)
        if code is not None:
            return repl.run_code(desk.terminal, evaluate, code, as_json=as_json)
        return repl.converse(
            desk.terminal,
            evaluate,
            repl.completing(session, CONSOLE_COMPLETE.name),
            title=str(session.ident.pid),
            banner=_banner(session),
        )


def _banner(session: Session) -> list[str]:
    """Say where one is."""
    place, status = session.request(CONSOLE.name), session.request("status")
    if not isinstance(place, Record) or not isinstance(status, Record):
        raise CommandError("failed", "the worker does not say where one is")
    here, facts = place.as_dict(), status.as_dict()
    lines = [
        f"the LIVE worker {here['pid']} on {here['hostname']}, uid {here['uid']}, "
        f"scope {session.agreed.scope.label}: {facts.get('program')}, "
        f"Python {here['python']}",
        f"thread {here['thread']}, none of the worker's; {here['class']}. Code holds "
        "the GIL, and each line is in the worker's audit log",
    ]
    where = "%main CODE runs on the main thread"
    if here.get("gevent"):
        where += "'s hub: gevent can be called there only"
    return [*lines, where]


VERB = Verb(
    name=CONSOLE.name,
    help=_HELP,
    scope=CONSOLE.scope,
    perform=perform,
    params=(
        click.Option(["code", "-c"], metavar="CODE", help="Run this, and leave."),
        option(OUTPUT),
        json_option(),
    ),
    target_params=(target_argument(),),
)
