"""A real browser for tests of pages: Chromium without a display, driven through pipes (Chrome DevTools Protocol).

    with chromium.browser() as page:
        page.open(path)
        assert page.value("document.title") == "…"
        assert not page.complaints()

Messages are JSON, each with a NUL after it, on descriptors 3 and 4 of the browser (--remote-debugging-pipe).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE = 120
"""Seconds for one answer."""
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9}


class Page:
    """The browser's one page."""

    def __init__(self, giving: int, taking: int) -> None:
        self._giving, self._taking = giving, taking
        self._session: str | None = None
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Attach to the page."""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **words: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": words}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._giving, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._taking], [], [], _PATIENCE)
            data = os.read(self._taking, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the window in pixels, and the colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> None:
        """Open a file, and wait until its scripts have run."""
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri())
        end = time.monotonic() + _PATIENCE
        while self.value("document.readyState") != "complete" or self.value("location.href") == "about:blank":
            assert time.monotonic() < end
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as JSON."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until the page was drawn twice."""
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def press(self, key: str) -> None:
        """Press and release a key."""
        words = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS.get(key, 0)}
        typed = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **words, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **words)

    def complaints(self) -> list[str]:
        """Return errors of scripts, violations of the policy, and dialogs since the page was opened."""
        kinds = (
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Page.javascriptDialogOpening",
        )
        return [json.dumps(one)[:500] for one in self.events if one["method"] in kinds]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the page was opened, without the page."""
        urls = [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "about:", "data:"))]

    def picture(self, path: Path) -> None:
        """Write a screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """Run Chromium during the context; skip the test if it is not installed."""
    if PROGRAM is None:
        pytest.skip("chromium is not installed")
    to_read, giving = os.pipe()
    taking, to_write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-") as place:
        command = [
            *(PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
            *("--remote-debugging-pipe", f"--user-data-dir={place}", "--hide-scrollbars", "about:blank"),
        ]
        # The shell gives the two pipes the numbers that the browser expects.
        script = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            page = Page(giving, taking)
            page.begin()
            yield page
        finally:
            os.close(giving)
            os.close(taking)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # Its helpers write to the directory for a moment longer.
            _empty(place)


def _empty(place: str) -> None:
    for _ in range(50):
        shutil.rmtree(place, ignore_errors=True)
        if not os.path.exists(place):
            break
        time.sleep(0.1)
    os.makedirs(place, exist_ok=True)
