"""The verbs that are more than "ask and show". To add one: its file, its line here."""

from liveheap_client.verbs import (
    attach,
    backrefs,
    completion,
    demo,
    diff,
    export,
    histogram,
    leaks,
    report,
    snapshot,
)
from liveheap_client.verbs.ask import asking
from liveheap_client.verbs.base import Verb

VERBS: tuple[Verb, ...] = (
    attach.VERB,
    histogram.VERB,
    snapshot.VERB,
    leaks.VERB,
    diff.VERB,
    backrefs.VERB,
    report.VERB,
    export.VERB,
    demo.VERB,
    completion.VERB,
)

__all__ = ["VERBS", "Verb", "asking"]
