"""Headless Chromium, told what to do over the two pipes of its DevTools protocol: no driver, no port, no network."""

import base64
import fcntl
import json
import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oracles.peers import need

_PATIENCE = 60  # seconds; a page takes far less than one
_SWITCHES = (
    *("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--disable-extensions"),
)


class Browser:
    """One browser with one tab. `problems` are what the console complained of, `requests` every address asked for."""

    def __init__(self, profile: Path) -> None:
        to_read, to_write = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_read[0], to_write[1])]
        self._out, self._in = to_read[1], to_write[0]

        command = [need("chromium"), *_SWITCHES, f"--user-data-dir={profile}", "about:blank"]
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
        wire = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs, 3)]
        self._process = os.posix_spawn(command[0], command, os.environ, file_actions=[*quiet, *wire])
        for fd in (*theirs, to_read[0], to_write[1]):
            os.close(fd)
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self.call("Browser.close")
        os.waitpid(self._process, 0)
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **parameters: object) -> Any:
        """One command of the protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def open(self, page: Path, *, width: int = 1280, dark: bool = False, scripts: bool = True, hash_: str = "") -> None:
        """Load a file and wait until it is there; what an earlier page did is forgotten."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._go("about:blank")
        self.problems.clear()
        self.requests.clear()
        self._go(page.as_uri() + hash_)

    def _go(self, address: str) -> None:
        self._loaded = False
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + _PATIENCE
        while not self._loaded:
            assert time.monotonic() < deadline, f"{address} does not load"
            self._note(self._receive())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression says in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A true click with the mouse in the middle of an element."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind, count in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 1)):
            button = "left" if count else "none"
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button=button, clickCount=count)

    def press(self, key: str) -> None:
        """Press one key: a printable character or a name such as `ArrowDown`."""
        codes = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        down: dict[str, object] = {"type": "keyDown" if text else "rawKeyDown", "key": key, "text": text}
        if key in codes:
            down["windowsVirtualKeyCode"] = codes[key]
        self.call("Input.dispatchKeyEvent", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, full: bool = True) -> None:
        """A picture of the page."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(picture["data"]))

    def pdf(self) -> bytes:
        """The page as printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    # ---- the wire

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "Chromium ended"
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        takers: dict[str, Callable[[dict[str, Any]], None]] = {
            "Runtime.exceptionThrown": lambda p: self.problems.append(p["exceptionDetails"]["text"]),
            "Runtime.consoleAPICalled": lambda p: self.problems.append(f"{p['type']}: {p['args']}"),
            "Log.entryAdded": lambda p: self.problems.append(p["entry"]["text"]),
            "Network.requestWillBeSent": lambda p: self.requests.append(p["request"]["url"]),
        }
        if event.get("method") == "Page.loadEventFired":
            self._loaded = True
        taker = takers.get(event.get("method", ""))
        if taker:
            taker(event["params"])
