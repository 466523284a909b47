"""Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Tab", "browser", "found"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
KEYS = {
    "ArrowDown": 40,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "End": 35,
    "Enter": 13,
    "Home": 36,
    "PageUp": 33,
    "Space": 32,
    "Tab": 9,
}
"""The codes that Windows gave the keys, by which Chromium still tells them."""

TYPED = {"Enter": "\r", "Space": " "}

SECONDS = 120.0
"""How long to wait for an answer: the machine may be busy with something else."""


def found() -> str | None:
    """Return the path of the installed browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(slots=True, eq=False)
class Tab:
    """A tab, and all that it reported.

    Attributes
    ----------
    socket
        The connection to it.
    events
        Name and parameters of each event so far.
    """

    socket: ClientConnection
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    count: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and gather the events until its answer."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = self._next()
            if message.get("id") == self.count:
                assert "error" not in message, message
                return dict(message["result"])

    def wait(self, event: str) -> None:
        """Wait for an event."""
        while event not in [name for name, _ in self.events]:
            self._next()

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(SECONDS))
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def open(self, page: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Open a file in a window of some size, and forget what an earlier page reported."""
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")

    def value(self, script: str) -> Any:
        """Return what a script comes to in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go; what has the focus gets it."""
        named = {
            "key": " " if key == "Space" else key,
            "code": key,
            "windowsVirtualKeyCode": KEYS[key],
        }
        text = {"text": TYPED[key]} if key in TYPED else {}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, **named, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll to an element, and return where its middle is in the window."""
        one = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{one}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.value(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"({one}.getBoundingClientRect())"
        )
        return x, y

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        self.drag(selector, 0)

    def drag(self, selector: str, by: float) -> None:
        """Press the mouse on the middle of an element, move it to the right, and let it go."""
        x, y = self.middle(selector)
        button = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **button)
        if by:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + by, y=y, **button)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + by, y=y, **button)

    def picture(self) -> bytes:
        """Return what is in the window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browser() -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it with all that it started."""
    program = found()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        quiet = ("--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage")
        process = subprocess.Popen(
            [program, *options, *quiet, "--remote-debugging-port=0", f"--user-data-dir={profile}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with _first_tab(process) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@contextlib.contextmanager
def _first_tab(process: subprocess.Popen[str]) -> Iterator[ClientConnection]:
    """Connect to the browser at the address that it prints, and make a tab."""
    assert process.stderr is not None
    lines = (line for line in process.stderr if "DevTools listening on " in line)
    address = next(lines).rpartition(" ")[2].strip()
    with connect(address, max_size=None, proxy=None) as socket:
        whole = Tab(socket)
        target = whole.call("Target.createTarget", url="about:blank")["targetId"]
        place = address.replace("/devtools/browser/", "/devtools/page/")
        with connect(f"{place.rpartition('/')[0]}/{target}", max_size=None, proxy=None) as tab:
            yield tab
