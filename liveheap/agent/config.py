"""The agent's settings: `LIVEHEAP_*` of the environment, read once by `start()`.

A setting that cannot be read is never a reason to keep a worker from starting, nor
one to open more than was asked for: it is refused in words (`complaints`, said once
on stderr by `start()`), and the closed default stands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from liveheap.history import INTERVAL_S
from liveheap.protocol.auth import Scope
from liveheap.rails import RANGES, Rails

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")
LONGEST_DELAY_S = 60.0
SHORTEST_HISTORY_S, LONGEST_HISTORY_S = 0.05, 3600.0


@dataclass(frozen=True, slots=True)
class Config(Rails):
    """What `start()` was told; what clients may take is in `liveheap.rails`."""

    enabled: bool = True
    dir: str | None = None  # LIVEHEAP_DIR, as liveheap.registry reads it
    tcp: tuple[str, int] | None = None  # one loopback address
    allow: Scope = Scope.GRAPH  # the ceiling; no client can raise it
    allow_uids: frozenset[int] = frozenset()  # beside our own and root
    spool: str | None = None  # directory of the spools
    fork_delay: float = 0.3
    children: bool = True  # come up again in forked children
    master: bool = True  # listen in the process that called start()
    name: str | None = None
    history: float = INTERVAL_S  # seconds between two figures; 0: none are kept
    audit: str = "file"  # or stderr: there as well
    complaints: tuple[str, ...] = ()


def read(environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """Return the settings of the environment, `overrides` of `start()` before them.

    Raises:
        TypeError: an override that is not a setting.
    """
    texts = {
        field.name: environ[f"LIVEHEAP_{field.name.upper()}"]
        for field in fields(Config)
        if f"LIVEHEAP_{field.name.upper()}" in environ
    }
    texts.pop("enabled", None)
    texts.pop("complaints", None)
    if "LIVEHEAP" in environ:
        texts["enabled"] = environ["LIVEHEAP"]
    for name, value in overrides.items():
        if name not in PARSERS:
            raise TypeError(f"liveheap.start() has no setting {name!r}")
        texts[name] = as_text(value)
    config, complaints = Config(), []
    for name, text in texts.items():
        try:
            config = replace(config, **{name: PARSERS[name](text)})  # type: ignore[arg-type]
        except (ValueError, OSError) as exc:  # OSError: a directory that is gone
            complaints.append(f"LIVEHEAP_{name.upper()}={text[:64]!r}: {exc}")
    return replace(config, complaints=tuple(complaints))


def as_text(value: object) -> str:
    """Write an override as the environment would hold it: one parser for both."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Scope):
        return value.name.lower()
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    if isinstance(value, (set, frozenset, list)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def parse_tcp(text: str) -> tuple[str, int] | None:
    """Read `HOST:PORT` or `PORT`; refuse every host but loopback."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    is_ipv4 = host.startswith("127.") and not host.strip("0123456789.")
    if not is_ipv4 and host not in ("::1", "localhost"):
        raise ValueError("only a loopback address is served; use ssh to come from afar")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("expected 127.0.0.1:PORT")
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def parse_scope(text: str) -> Scope:
    """Read the name of a scope, or the highest of several; nothing is as if unset."""
    try:
        return max(
            (Scope[name] for name in words(text.upper())), default=Config().allow
        )
    except KeyError:
        raise ValueError(
            "expected read, graph, values or exec, each of which includes those before"
        ) from None


def parse_uids(text: str) -> frozenset[int]:
    """Read uids, separated by commas."""
    return frozenset(map(int, words(text)))


def words(text: str) -> list[str]:
    """Split at commas and spaces."""
    return text.replace(",", " ").split()


def parse_bool(text: str) -> bool:
    """Read a yes or a no; nothing is neither."""
    word = text.strip().lower()
    if word not in YES + NO:
        raise ValueError("expected 1 or 0")
    return word in YES


def parse_delay(text: str) -> float:
    """Read seconds."""
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_DELAY_S:
        raise ValueError(f"expected 0 to {LONGEST_DELAY_S:.0f} seconds")
    return seconds


def parse_history(text: str) -> float:
    """Read yes, no, or the seconds between two figures."""
    word = text.strip().lower()
    if word in YES + NO:
        return INTERVAL_S if word in YES else 0.0
    seconds = float(text)
    if not SHORTEST_HISTORY_S <= seconds <= LONGEST_HISTORY_S:
        raise ValueError(f"expected 0, or up to {LONGEST_HISTORY_S:.0f} seconds")
    return seconds


def parse_audit(text: str) -> str:
    """Read where the audit log goes beside its file."""
    word = text.strip().lower() or "file"
    if word not in ("file", "stderr"):
        raise ValueError("expected file or stderr")
    return word


def parse_enabled(text: str) -> bool:
    """Only a clear no switches off: `LIVEHEAP=1` is also the way in by .pth."""
    return text.strip().lower() not in NO


def parse_path(text: str) -> str | None:
    """Read a path, as it is now: a worker may change its directory. Empty is unset."""
    return os.path.abspath(text) if text else None


def parse_text(text: str) -> str | None:
    """Read text; empty is as if unset."""
    return text or None


PARSERS = {
    "enabled": parse_enabled,
    "dir": parse_path,
    "tcp": parse_tcp,
    "allow": parse_scope,
    "allow_uids": parse_uids,
    "spool": parse_path,
    "fork_delay": parse_delay,
    "children": parse_bool,
    "master": parse_bool,
    "name": parse_text,
    "history": parse_history,
    "audit": parse_audit,
    "force": parse_bool,
    **{name: each.parse for name, each in RANGES.items()},
}
