"""The verbs that are more than "ask and show". To add one: its file, its line here."""

from liveheap_client.verbs import (
    attach,
    backrefs,
    clone,
    completion,
    console,
    containers,
    demo,
    detach,
    diff,
    dominators,
    export,
    histogram,
    inspecting,
    leaks,
    memory,
    paths,
    report,
    snapshot,
    status,
    strings,
    tasks,
    top,
)
from liveheap_client.verbs.ask import asking
from liveheap_client.verbs.base import Verb

VERBS: tuple[Verb, ...] = (
    status.VERB,
    tasks.VERB,
    attach.VERB,
    memory.VERB,
    histogram.VERB,
    console.VERB,
    clone.VERB,
    detach.VERB,
    snapshot.VERB,
    leaks.VERB,
    diff.VERB,
    backrefs.VERB,
    paths.VERB,
    top.VERB,
    dominators.VERB,
    containers.VERB,
    strings.VERB,
    inspecting.VERB,
    report.VERB,
    export.VERB,
    demo.VERB,
    completion.VERB,
)

__all__ = ["VERBS", "Verb", "asking"]
