"""`clone`: heapy and objgraph in a frozen copy of the worker, in a session of its own.

What objgraph draws comes as DOT text; it is drawn here and written beside one another,
as source and as SVG, under the first names that are free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from liveheap import __version__
from liveheap.commands.clone import CLONE, CLONE_ASK, CLONE_COMPLETE
from liveheap.commands.evaluating import OUTPUT
from liveheap.errors import CommandError
from liveheap.protocol.auth import Scope
from liveheap.protocol.results import Record
from liveheap_client.desk import Desk
from liveheap_client.errors import UsageError
from liveheap_client.progress import bar
from liveheap_client.render.units import human_bytes, human_seconds
from liveheap_client.session import Session
from liveheap_client.shell import repl
from liveheap_client.terminal import Terminal
from liveheap_client.verbs.ask import help_text, option, telling_steps
from liveheap_client.verbs.base import Verb, json_option, target_argument
from liveheap_client.verbs.output import refuse, write

_HELP = f"""{help_text(CLONE)}

Off, unless the worker was started with LIVEHEAP_ALLOW=values (or exec). In it, h is
heapy's hp.heap(), computed when first named: h, h[0].byvia, h.byrcs, hp.iso(...),
hp.setrelheap(). objgraph: show_most_common_types(), by_type('NAME'),
show_backrefs(objgraph.by_type('NAME')[:3]), find_backref_chain(x,
objgraph.is_proper_module), show_chain(...). NAME = ... keeps something. Other code of
Python's takes --python, for which the worker needs LIVEHEAP_ALLOW=exec.

Pictures are written here, as PID-1.dot and PID-1.svg and so on. What threads and
greenlets hold is there: the module liveheap.frames has the locals of each frame.
"""
_MOST_NAMES = 1000
_WORTH_A_WORD = 32 << 20


def perform(
    desk: Desk,
    *,
    code: str | None,
    max_output: int,
    svg: str | None,
    html: str | None,
    force_overwrite: bool,
    as_json: bool,
    target: str | None = None,
    **args: Any,
) -> int:
    """Make the copy; ask it, or talk."""
    if code is None and (as_json or svg is not None or html is not None):
        raise UsageError(
            "--json, --svg and --html are for one question",
            hint="clone -c \"objgraph.show_backrefs(objgraph.by_type('NAME')[:3])\"",
        )
    for name, path in (("--svg", svg), ("--html", html)):
        if path is not None:
            refuse(Path(path), option=name, replace=force_overwrite)
    scope = Scope.EXEC if args["python"] else CLONE.scope
    with desk.caller(target) as caller, caller.apart(scope) as session:
        made = _made(desk.terminal, session, args)
        pictures = Pictures(desk.terminal, session.ident.pid, svg, html)
        evaluate = pictures.taking(
            repl.asking(session, CLONE_ASK.name, tell=once(desk), max_output=max_output)
        )
        if code is not None:
            return repl.run_code(desk.terminal, evaluate, code, as_json=as_json)
        return repl.converse(
            desk.terminal,
            telling_cost(evaluate, made["own"]),
            repl.completing(session, CLONE_COMPLETE.name),
            title=f"copy of {session.ident.pid}",
            banner=banner(session, made, is_free=args["python"]),
        )


def _made(
    terminal: Terminal, session: Session, args: Mapping[str, Any]
) -> Mapping[str, Any]:
    given = {name: value for name, value in args.items() if value}
    with bar(terminal) as progress:
        progress.update(CLONE.name)
        tell = telling_steps(CLONE.name, progress, [])
        shape = session.request(CLONE.name, given, on_progress=tell)
    if not isinstance(shape, Record):
        raise CommandError("failed", "the worker does not say what copy it made")
    return shape.as_dict()


def banner(session: Session, made: Mapping[str, Any], *, is_free: bool) -> list[str]:
    """Say where one is, what it costs, and for how long."""
    ident = session.ident
    first = (
        f"a frozen copy of worker {ident.pid} on {ident.host}: process {made['pid']}, "
        f"scope {session.agreed.scope.label}"
    )
    cost = (
        f"the worker stopped for {human_seconds(made['pause'])} and works on; the copy "
        f"has {human_bytes(made['own'])} of its own so far, shares "
        f"{human_bytes(made['shared'])}, may grow by {human_bytes(made['cap'])}, and "
        f"ends in {human_seconds(made['lives'])}, or with this session"
    )
    lines = [first, cost]
    if made.get("without"):
        lines.append(str(made["without"]))
    lines.append(
        "any Python; h, hp and objgraph are made when first named"
        if is_free
        else "h, hp (heapy) and objgraph; for other Python: clone --python"
    )
    return lines


def once(desk: Desk) -> repl.Write:
    """Return what says each thing once to somebody who waits."""
    said: set[str] = set()

    def tell(text: str) -> None:
        if desk.terminal.talk_is_watched and text not in said:
            said.add(text)
            desk.terminal.say(text)

    return tell


def telling_cost(evaluate: repl.Evaluate, known: float) -> repl.Evaluate:
    """Return the evaluation, which says when the copy has come to cost much more."""

    def and_tell(code: str, *, whole: bool, write: repl.Write) -> Mapping[str, Any]:
        nonlocal known
        answer = dict(evaluate(code, whole=whole, write=write))
        own, left = answer.get("own"), answer.get("left")
        if isinstance(own, int | float) and own > known + _WORTH_A_WORD:
            known = own
            answer["note"] = f"the copy has {human_bytes(int(own))} of its own by now"
            if isinstance(left, int | float):
                answer["note"] += f", and ends in {human_seconds(left)}"
        return answer

    return and_tell


class Pictures:
    """Puts the pictures of an answer into files."""

    def __init__(
        self, terminal: Terminal, pid: int, svg: str | None, html: str | None
    ) -> None:
        self._terminal = terminal
        self._pid = pid
        self._svg, self._html = svg, html

    def taking(self, evaluate: repl.Evaluate) -> repl.Evaluate:
        """Return the evaluation, whose pictures become files."""

        def and_draw(code: str, *, whole: bool, write: repl.Write) -> Mapping[str, Any]:
            answer = dict(evaluate(code, whole=whole, write=write))
            dots = answer.pop("pictures", None)
            if isinstance(dots, list) and dots:
                answer["pictures"] = [str(each) for each in self._keep(dots)]
            return answer

        return and_draw

    def _keep(self, dots: list[Any]) -> list[Path]:
        from liveheap_client.report import objects  # noqa: PLC0415 - rarely

        kept: list[Path] = []
        for dot in map(str, dots):
            picture = f"{objects.objects_picture(dot, alone=True)}\n"
            if self._svg is None and self._html is None:
                base = self._free_name()
                write(base.with_suffix(".dot"), dot, option="-c")
                write(base.with_suffix(".svg"), picture, option="-c")
                kept += [base.with_suffix(".dot"), base.with_suffix(".svg")]
            if self._svg is not None:
                write(Path(self._svg), picture, option="--svg")
                kept.append(Path(self._svg))
            if self._html is not None:
                page = objects.objects_page(dot, tool=f"liveheap {__version__}")
                write(Path(self._html), page, option="--html")
                kept.append(Path(self._html))
        for path in kept:
            self._terminal.say(f"drawn: {path}")
        return kept

    def _free_name(self) -> Path:
        for number in range(1, _MOST_NAMES):
            base = Path(f"{self._pid}-{number}")
            if not any(os.path.lexists(f"{base}{end}") for end in (".dot", ".svg")):
                return base
        raise UsageError(f"{_MOST_NAMES} pictures of {self._pid} are here already")


VERB = Verb(
    name=CLONE.name,
    help=_HELP,
    scope=CLONE.scope,
    perform=perform,
    params=(
        click.Option(["code", "-c"], metavar="CODE", help="Ask this, and leave."),
        click.Option(
            ["--svg"], metavar="FILE", help="Draw the picture into this file."
        ),
        click.Option(["--html"], metavar="FILE", help="The same, as a page."),
        click.Option(
            ["--force-overwrite"], is_flag=True, help="Replace files of these names."
        ),
        *map(option, CLONE.params),
        option(OUTPUT),
        json_option(),
    ),
    target_params=(target_argument(),),
)
