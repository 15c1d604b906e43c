"""Each target of `make fuzz` on its seeds and on some hundreds of changes of them.

The same inputs on every run; a million of them, led by coverage, is `make fuzz`.
"""

import random

import pytest
from fuzz.live import broken
from fuzz.run import Outcome, number_after
from fuzz.targets import TARGETS, show

from liveheap.protocol.results import Column, Record, Table, Tree, TreeNode

CHANGES = 250
ESCAPES = "a\x1b[31m\n\u202eb"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_target_takes_its_seeds_and_changes_of_them(target):
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        assert len(seed) <= target.longest
        target.run(seed)
    for number in range(CHANGES):
        seed = seeds[number % len(seeds)]
        target.run(broken(seed, random.Random(number))[: target.longest])


def test_no_target_is_called_as_another():
    assert len({target.name for target in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize(
    "shape",
    [
        Table((Column(ESCAPES, "text"),), ((ESCAPES,),)),
        Record(((ESCAPES, "text", ESCAPES),)),
        Tree(TreeNode(ESCAPES, ((ESCAPES, "count", 1),))),
        Table((Column("at", "time"),), ((1e300,), (-1e300,))),
    ],
    ids=["table", "record", "tree", "no such time"],
)
def test_what_a_worker_calls_things_is_shown_harmlessly(shape):
    show(shape)


def test_an_outcome_says_what_libfuzzer_said():
    said = "#8 cov: 12 ft: 1\n#9 DONE cov: 15\nstat::number_of_executed_units: 900\n"
    assert number_after("cov:", said) == 15
    assert number_after("number_of_executed_units:", said) == 900
    assert Outcome("a", 900, 1.2, 15, 40, ()).cells()[-1] == "nothing"
