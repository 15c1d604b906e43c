"""The judge of the leak bench: what counts, and when an eye has to look again."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "leakbench"))

import extras
import judge
from judge import Row

ANSWER = {"kinds": ["leak"], "type": "Row", "holder": "CACHE"}


def suspect(type_: str, path: str) -> dict[str, object]:
    return {"type": type_, "path": path, "retaining_path": [path]}


def score(evidence: str, eye: str) -> dict[str, object]:
    item = {"points": 1.0, "evidence": evidence, "eye": eye}
    return {"items": {"holder": item}}


TRUTH = {"kind": "python-objects", "holder": {"orphan": False}}


def test_type_and_holder_count_among_the_first_five_suspects_only() -> None:
    noise = [suspect("str", "app.OTHER")] * 5
    late = [*noise, suspect("app.Row", "app.CACHE")]
    for suspects, points in ((late, 0.0), (late[1:], 1.0)):
        row = judge.extra(Row("c", "leak", kind="leak"), ANSWER, {"suspects": suspects})
        assert row.points == {"type": points, "holder": points}
        assert row.verdict


@pytest.mark.parametrize(
    ("kind", "silent"),
    [("plateau", True), ("undecided", True), ("native", False), ("no report", False)],
)
def test_a_control_that_is_accused_or_without_report_is_wrong(kind, silent) -> None:
    assert judge.control(Row("c", "control", kind=kind)).verdict is silent


def test_a_run_without_a_report_has_no_points() -> None:
    row = judge.failed("c", "leak", "first\nit ended")
    assert row.points == {"type": 0.0, "holder": 0.0}
    assert not row.verdict
    assert row.sentence == "it ended"


def test_an_eye_has_judged_its_evidence_and_no_other(monkeypatch, tmp_path) -> None:
    seen = {"points": 0.5, "judge": "me", "date": "d", "reason": "half of it"}
    eyes = tmp_path / "eyes.json"
    eyes.write_text(json.dumps({"c holder": {**seen, "evidence": "entry N: _tasks"}}))
    monkeypatch.setattr(judge, "EYES", eyes)
    known, other = (
        judge.released(Row("c", "leak"), TRUTH, score(evidence, "look"), {})
        for evidence in ("entry 7: _tasks", "entry 1: other")
    )
    assert known.points == {"holder": 0.5}
    assert other.points == {"holder": 1.0}
    assert "needs an eye" in other.eyes[0]


@pytest.mark.parametrize(("named", "points"), [("shop.leak", 1.0), (None, 0.0)])
def test_the_task_is_a_point_where_its_label_is_told(named, points) -> None:
    truth = {**TRUTH, "task": "shop.leak"}
    report = {"suspects": [{"task": None, "path": "shop.leak"}, {"task": named}]}
    row = judge.released(Row("c", "leak"), truth, {"items": {}}, report)
    assert row.points == {"task": points}


def test_each_extra_case_has_an_answer_and_each_answer_a_case() -> None:
    files = {path.stem for path in extras.FOLDER.glob("*.py")} - {"load"}
    assert set(extras.answers()) == files
    for name, answer in extras.answers().items():
        innocent = set(answer["kinds"]) <= judge.CALM | {"undecided", "native"}
        assert innocent is (name.startswith("twin_") or name == "native_malloc"), name
