"""From a report to a row of the table: type, holder, verdict, and what it cost.

Judged is the JSON form, whose fields a script can tell apart: the released cases by the
bench's own score.py, the extra ones by answers.json. Where score.py asks for an eye,
the judgement stands in eyes.json with the judge, the reason and the evidence it was
given for; other evidence than that needs a new look, and the table says so.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EYES = Path(__file__).parent / "eyes.json"
ACCUSING = {"leak", "reference-leak", "native", "descriptors"}
CALM = {"plateau", "nothing-grows"}
RIGHT_KINDS = {
    "python-objects": {"leak"},
    "orphan": {"reference-leak"},
    "fd": {"leak", "descriptors"},
    "native": {"native"},
    "not-a-leak": CALM,
}
FIRST_SUSPECTS = 5

Report = Mapping[str, Any]


@dataclass(slots=True)
class Row:
    """A line of the table; an item without points does not apply."""

    case: str
    variant: str
    origin: str = "extra"  # or "released"
    points: dict[str, float] = field(default_factory=dict)
    verdict: bool = False
    kind: str = ""
    sentence: str = ""
    cost: str = ""
    eyes: list[str] = field(default_factory=list)
    commit: str = ""


def failed(case: str, variant: str, said: str) -> Row:
    """Return the row of a run that left no report: it names nothing."""
    last = said.strip().splitlines()[-1:] or ["no report"]
    points: dict[str, float] = {}
    if variant in ("leak", "late"):
        points = {"type": 0.0, "holder": 0.0}
    sentence = last[0][:200]
    return Row(case, variant, points=points, kind="no report", sentence=sentence)


def row_of(case: str, variant: str, out: Path, report: Report) -> Row:
    """Return the part of a row that any run has."""
    kind, sentence = verdict_of(report)
    return Row(case, variant, kind=kind, sentence=sentence, cost=cost_of(out, report))


def released(row: Row, truth: Report, score: Report, report: Report) -> Row:
    """Judge a released leak by its truth and by what score.py proposes.

    Only the name in a suspect's field `task` counts for the task: a function of that
    name in some path is no label.
    """
    kind = truth["kind"]
    orphan = bool((truth.get("holder") or {}).get("orphan"))
    row.verdict = row.kind in RIGHT_KINDS["orphan" if orphan else kind]
    eyes = json.loads(EYES.read_text())
    for item, proposal in score["items"].items():
        if item in ("line", "task"):
            continue
        row.points[item] = proposal["points"]
        if proposal["eye"]:
            _look(row, item, proposal, eyes)
    if truth.get("task"):
        named = [one["task"] for one in report["suspects"][:FIRST_SUSPECTS]]
        row.points["task"] = float(truth["task"] in named)
    return row


def control(row: Row) -> Row:
    """Judge a variant that does not grow: nothing may be accused."""
    row.verdict = row.kind not in ACCUSING and row.kind != "no report"
    return row


def extra(row: Row, answer: Report, report: Report) -> Row:
    """Judge an invented leak, or its innocent twin, by the answer beside it."""
    says = answer.get("says", "")
    row.verdict = row.kind in answer["kinds"] and bool(re.search(says, row.sentence))
    suspects = report["suspects"][:FIRST_SUSPECTS]
    for item, texts in (
        ("type", [f"{one['type']} {one['path']}" for one in suspects]),
        ("holder", [f"{one['path']} {one['retaining_path']}" for one in suspects]),
    ):
        if answer.get(item):
            hit = any(re.search(answer[item], text) for text in texts)
            row.points[item] = float(hit)
    return row


def verdict_of(report: Report) -> tuple[str, str]:
    """Return the kind and the sentence of a report's verdict."""
    verdict = report.get("verdict")
    if isinstance(verdict, Mapping):
        return str(verdict.get("kind")), str(verdict.get("sentence"))
    return str(verdict), ""


def cost_of(out: Path, report: Report) -> str:
    """Return what the hunt cost the worker: its pauses, and RSS after the first."""
    pauses = [one["pause_ns"] / 1e6 for one in report["rounds"] if one["pause_ns"]]
    parts = []
    if pauses:
        parts.append(f"pause {min(pauses):.1f}-{max(pauses):.1f} ms")
    path = out / "inject.json"
    if path.exists() and (text := path.read_text()):
        parts.append(how_it_came(json.loads(text)))
    path = out / "rss.json"
    samples = json.loads(path.read_text()) if path.exists() else []
    early = [size for second, size in samples if second <= 2.5]
    if early:
        parts.append(f"RSS {(early[-1] - early[0]) / 1e6:+.1f} MB")
    return ", ".join(parts)


def how_it_came(told: Report) -> str:
    """Return by which way an agent came late, and what that cost the worker."""
    stopped, loading = told.get("stopped_ms"), told.get("loading_ms")
    words = f"agent by {told.get('way')}: loaded in {loading:.0f} ms"
    return words if stopped is None else f"{words}, stopped {stopped:.1f} ms"


def _look(row: Row, item: str, proposal: Report, eyes: Report) -> None:
    evidence = re.sub(r"\d[\d,.]*", "N", proposal["evidence"])
    seen = eyes.get(f"{row.case} {item}")
    if seen and seen["evidence"] == evidence:
        row.points[item] = seen["points"]
        judge = f"{seen['judge']}, {seen['date']}"
        points = f"{seen['points']:g} ({judge})"
        row.eyes.append(f"{row.case}, {item}: {points}: {seen['reason']}")
    else:
        row.eyes.append(
            f"{row.case}, {item}: {proposal['points']:g} proposed, needs an eye "
            f"({proposal['eye']}); evidence: `{evidence[:160]}`"
        )
