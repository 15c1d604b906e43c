"""Who asks, as this machine's environment has it: for the agent's audit log.

The bridge says it of whoever came by ssh, on the machine where sshd has noted it; a
client beside the worker says it of itself. Nothing of it is proved: the agent marks it
as told, and decides nothing by it.
"""

from collections.abc import Mapping

from liveheap.protocol.exchange import MAX_TOLD, MAX_TOLD_TEXT

_WORDS = {
    "ssh": ("SSH_CONNECTION",),
    "user": ("LOGNAME", "USER"),
    "sudo": ("SUDO_USER",),
}


def told_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment says of who asks."""
    found = {
        word: next((environ[name] for name in names if environ.get(name)), "")
        for word, names in _WORDS.items()
    }
    return {word: _sendable(text) for word, text in found.items() if text}


def received(fields: object) -> dict[str, str]:
    """Return what a bridge said of who asks, as far as it may be sent on."""
    if not isinstance(fields, Mapping):
        return {}
    texts = [(word, text) for word, text in fields.items() if isinstance(text, str)]
    known = [(word, text) for word, text in texts if word in _WORDS]
    return {word: _sendable(text) for word, text in known[:MAX_TOLD]}


def _sendable(text: str) -> str:
    """Return a text that a frame can hold, whatever bytes the environment has."""
    return text.encode("ascii", "backslashreplace").decode()[:MAX_TOLD_TEXT]
