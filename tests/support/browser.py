"""A browser without a window, asked through the DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol, "--remote-debugging-pipe": commands go in by
descriptor 3 and answers come out by 4, JSON ended by a zero byte. No port, no driver, no library.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium")
# As root a browser has no sandbox; what it is shown here is ours.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """One tab. `requested` are the URLs that it asked for, `said` what stands in its console."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self.requested: list[str] = []
        self.said: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser is gone"
            self._left += more
        data, _, self._left = self._left.partition(b"\0")
        value: dict[str, Any] = json.loads(data)
        self._hear(value.get("method", ""), value.get("params", {}))
        return value

    def _hear(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif event == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif event == "Page.loadEventFired":
            self._loaded = True

    def open(
        self, url: str, *, width: int = 1000, height: int = 800, scheme: str = "light"
    ) -> None:
        """Load `url` whole, in a window of this size and a light or dark scheme."""
        self.requested.clear()
        self.said.clear()
        self._loaded = False
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.ask("Page.navigate", url=url)
        while not self._loaded:
            self._next()

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited. The page's policy does not matter."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, *, whole: bool = False) -> bytes:
        """PNG of the window, or of the whole page."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def violations(self) -> list[str]:
        """What axe-core finds wrong, one line for each element: rule, element, why."""
        axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.run(f"{axe};undefined")
        found = self.run("axe.run(document).then(found => found.violations)")
        return [
            f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with one tab. Where there is none, the test is skipped, which CI does not have."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no chromium: scripts/test installs one")
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    with subprocess.Popen(
        # The descriptors are moved to 3 and 4, wherever they are, in the shell's own redirections.
        [
            "/bin/bash",
            "-c",
            f'exec "$@" 3<&{to_browser} 4>&{from_browser}',
            "browser",
            program,
            *_OPTIONS,
            f"--user-data-dir={profile}",
        ],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Page(from_us, to_us)
        finally:
            # All of it: a browser is several processes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            os.close(from_us)
            os.close(to_us)
