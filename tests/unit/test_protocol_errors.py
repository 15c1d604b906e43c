"""Errors: a culprit for each, a code and a hint that survive, and nothing else."""

import copy
import pickle

import pytest

from liveheap import errors
from liveheap.errors import (
    AuthenticationError,
    CommandError,
    LiveheapError,
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
)

ALL = [
    item
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, LiveheapError)
]


def test_an_error_without_a_culprit_cannot_be_raised():
    with pytest.raises(TypeError, match="culprit"):
        raise ProtocolError("somebody did something")


def test_either_culprit_is_caught_as_their_parent():
    for culprit in (LocalProtocolError, RemoteProtocolError, MessageTooLarge):
        with pytest.raises(ProtocolError):
            raise culprit("did something")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_ours_and_says_only_its_message(kind):
    if kind is ProtocolError:
        return
    words = ("busy", "a message") if kind is CommandError else ("a message",)
    error = kind(*words, hint="liveheap ps")
    assert (str(error), error.message, error.hint) == (
        "a message",
        "a message",
        "liveheap ps",
    )
    assert kind(*words).hint is None


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_code_hint_and_detail_survive_a_copy(again):
    command = again(CommandError("busy", "no", hint="wait", detail={"s": 1}))
    assert (command.code, str(command), command.hint, command.detail) == (
        "busy",
        "no",
        "wait",
        {"s": 1},
    )
    proof = again(AuthenticationError("no", hint="h", code="version"))
    assert (str(proof), proof.hint, proof.code) == ("no", "h", "version")


def test_two_command_errors_share_no_detail():
    CommandError("busy", "no").detail["a"] = 1
    assert CommandError("busy", "no").detail == {}
