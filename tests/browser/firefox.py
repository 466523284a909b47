"""Firefox without a window, driven over WebDriver BiDi, which it speaks itself."""

from __future__ import annotations

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

__all__ = ["Window", "firefox", "found"]

NAMES = ("firefox", "firefox-esr")

SECONDS = 120.0
"""How long to wait for an answer: the machine may be busy with something else."""


def found() -> str | None:
    """Return the path of the installed browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(slots=True, eq=False)
class Window:
    """A window, and what pages reported in it.

    Attributes
    ----------
    socket
        The connection to the browser.
    context
        The identifier of the window.
    entries
        Each message of a page to the console, and each error of its scripts.
    """

    socket: ClientConnection
    context: str = ""
    entries: list[str] = field(default_factory=list)
    count: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and gather what pages report until its answer."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(SECONDS))
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                self.entries.append(f"{entry['type']} {entry['level']}: {entry['text']}")
            if message.get("id") == self.count:
                assert message["type"] == "success", message
                return dict(message["result"])

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is complete."""
        self.call(
            "browsingContext.navigate", context=self.context, url=page.as_uri(), wait="complete"
        )

    def value(self, script: str) -> Any:
        """Return what a script comes to in the page, by way of JSON."""
        answer = self.call(
            "script.evaluate",
            expression=f"JSON.stringify({script})",
            target={"context": self.context},
            awaitPromise=False,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))


@contextlib.contextmanager
def firefox() -> Iterator[Window]:
    """Start a browser with a profile of its own, and end it with all that it started."""
    program = found()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, "--headless", "--profile", profile, "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            lines = (line for line in process.stderr if "WebDriver BiDi listening on " in line)
            address = next(lines).rpartition(" ")[2].strip()
            with connect(f"{address}/session", max_size=None, proxy=None) as socket:
                window = Window(socket)
                window.call("session.new", capabilities={})
                window.call("session.subscribe", events=["log.entryAdded"])
                window.context = window.call("browsingContext.getTree")["contexts"][0]["context"]
                yield window
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()
