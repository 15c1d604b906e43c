"""A headless Chromium, spoken to in its own protocol over two pipes.

No driver and no library: the DevTools protocol is JSON with a NUL after each message,
and `--remote-debugging-pipe` reads it from file descriptor 3 and answers on 4. What the
page logs, throws and asks the network for arrives as events; keys are real key events,
so focus moves as it does for a person.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
DEADLINE_S = 30.0
_KEYS = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, ""), "Escape": (27, "")}
_KEYS |= {
    f"Arrow{way}": (code, "")
    for code, way in enumerate(("Left", "Up", "Right", "Down"), 37)
}


def executable() -> str | None:
    """Return the browser's path, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class BrowserFailed(Exception):
    """The browser ended, kept silent, or said no."""


@dataclass
class Browser:
    """One page in one browser."""

    process: subprocess.Popen[bytes]
    to_browser: int
    from_browser: int
    session: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytes = b""
    _last_id: int = 0

    @classmethod
    @contextmanager
    def started(cls, *, width: int = 1200, height: int = 900) -> Iterator[Browser]:
        """Start a browser with a profile of its own; end it and remove that."""
        path = executable()
        if path is None:
            raise BrowserFailed("there is no Chromium here")
        with tempfile.TemporaryDirectory(prefix="liveheap-browser-") as profile:
            browser = cls._start(path, profile, width, height)
            try:
                browser._attach()
                yield browser
            finally:
                browser._end()

    @classmethod
    def _start(cls, path: str, profile: str, width: int, height: int) -> Browser:
        read_commands, to_browser = os.pipe()
        from_browser, write_answers = os.pipe()
        # A shell puts the pipes where the browser looks for them: 3 and 4.
        wiring = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                wiring,
                "browser",
                path,
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_answers)
        return cls(process, to_browser, from_browser)

    def _attach(self) -> None:
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _end(self) -> None:
        os.close(self.to_browser)
        os.close(self.from_browser)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events on the way are kept."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method}
        message["params"] = params
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.from_browser], [], [], left)[0]:
                raise BrowserFailed(f"silent for {DEADLINE_S} s")
            data = os.read(self.from_browser, 1 << 20)
            if not data:
                raise BrowserFailed("the browser ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.named("Page.loadEventFired"):
            self.events.append(self._next())

    def named(self, method: str) -> list[dict[str, Any]]:
        """Return what came with the events of a name."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def complaints(self) -> list[str]:
        """Return what the page threw or logged, and what its policy forbade."""
        thrown = self.named("Runtime.exceptionThrown")
        said = self.named("Runtime.consoleAPICalled")
        logged = self.named("Log.entryAdded")
        return [json.dumps(one) for one in (*thrown, *said, *logged)]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for, itself included."""
        sent = self.named("Network.requestWillBeSent")
        return [one["request"]["url"] for one in sent]

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserFailed(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, as a keyboard does."""
        code, text = _KEYS[key]
        shared = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, clip: dict[str, float] | None = None) -> None:
        """Write a picture of the page, or of a part of it."""
        area = {} if clip is None else {"clip": {"scale": 1, **clip}}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, **area)
        path.write_bytes(base64.b64decode(answer["data"]))
