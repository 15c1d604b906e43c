"""`stop`: the kill switch. An agent stops listening and stays away.

For one target, wherever it is, or for all workers of this machine. Who cannot be told,
because its interpreter is held or its sessions are all in use, is named with the switch
that needs no agent: the file `disabled` in the run directory, which a running agent
sees at the next connection or request, and in any case at its next note of the history.
Standard library only: this runs on bare servers.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from liveheap.commands.stop import STOP
from liveheap_client import arguments, workers
from liveheap_client import target as targets
from liveheap_client.arguments import Parser
from liveheap_client.errors import FAILED, OK, UsageError
from liveheap_client.rollcall import RollCall
from liveheap_client.session import Session
from liveheap_client.terminal import Terminal
from liveheap_client.workers import Worker

ANSWER_WITHIN_S = 5.0


def main(words: Sequence[str], *, summary: str) -> int:
    """Stop what is named; return 1 if somebody could not be told."""
    given = _parser(summary).parse_args(words)
    if [given.target is not None, given.via is not None, given.all].count(True) != 1:
        raise UsageError(
            "name one TARGET, or --via CMD, or --all", hint="liveheap stop --help"
        )
    terminal = Terminal.standard()
    rows = _all() if given.all else [_one(given)]
    if given.json:
        terminal.show_json(rows)
    else:
        terminal.show(_told(row) for row in rows)
    missed = [row for row in rows if not row["stopped"]]
    for directory in sorted({row["run_dir"] for row in missed}):
        terminal.say(
            f"hint: the switch that needs no answer: touch {directory}/disabled"
        )
    return FAILED if missed else OK


def _parser(summary: str) -> Parser:
    reader = arguments.parser("stop", summary)
    reader.add_argument("target", nargs="?", metavar="TARGET", help=targets.FORMS)
    reader.add_argument(
        "--all", action="store_true", help="every worker here that has an agent"
    )
    reader.add_argument("--json", action="store_true", help="say it as JSON")
    reader.add_argument("--via", metavar="CMD", help="talk over the stdio of CMD")
    arguments.add_connecting(reader)
    return reader


def _one(given: argparse.Namespace) -> dict[str, Any]:
    place = targets.parse(given.target) if given.via is None else targets.via(given.via)
    options = arguments.options(given)
    with Session.open(place, scope=STOP.scope, options=options) as session:
        session.request(STOP.name)
        session.see_it_end()
        return {"pid": session.ident.pid, "stopped": True, "reason": None}


def _all() -> list[dict[str, Any]]:
    found = workers.local(os.environ)
    with RollCall(os.environ) as roll:
        answers = roll.ask(found, STOP.name, deadline_s=ANSWER_WITHIN_S)
        refused = set(roll.refused)
    return [_row(worker, answers, refused) for worker in found]


def _row(
    worker: Worker, answers: dict[Any, Any], refused: set[tuple[int, int]]
) -> dict[str, Any]:
    key = worker.pid, worker.entry.start_time
    reason = "refused" if key in refused else "silent"
    if key in answers:
        reason = "too old for this" if answers[key] is None else ""
    return {
        "pid": worker.pid,
        "stopped": not reason,
        "reason": reason or None,
        "run_dir": str(worker.entry.socket.parent),
    }


def _told(row: dict[str, Any]) -> str:
    if row["stopped"]:
        return f"process {row['pid']} has no agent any more, until it starts anew"
    return f"process {row['pid']} was not told: {row['reason']}"
