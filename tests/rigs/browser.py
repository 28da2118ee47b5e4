"""What does a page do in a real browser? Chromium, spoken to over a pipe (the DevTools protocol, no dependency)."""

import fcntl
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root in a container has no other way; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)
_KEYS = {"Escape": 27, "Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35}


class NoBrowser(Exception):
    """No Chromium is installed here."""


class Page:
    """One tab. `evaluate` looks, `click` and `press` do what a hand does: the browser decides what was hit."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to_browser = to_browser
        self._from_browser = from_browser
        self._numbers = itertools.count(1)
        self._received = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light", scale: float = 1
    ) -> None:
        """Open a file as a double click would, and wait until it has loaded; what was heard before is forgotten."""
        self.events.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )  # fmt: skip
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=path.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element, whatever lies there, and wait for the next frame."""
        box = self.evaluate(
            f"""(() => {{
                const element = document.querySelector({json.dumps(selector)});
                element.scrollIntoView({{block: "center"}});
                return element.getBoundingClientRect().toJSON();
            }})()"""
        )
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)
        self.next_frame()

    def press(self, key: str) -> None:
        """Press and release a key on whatever has the focus, and wait for the next frame."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key], **text)
        self.next_frame()

    def next_frame(self) -> None:
        """Wait until what was asked for before has been drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")

    @property
    def complaints(self) -> list[str]:
        """What the page's console and its policy had to say: errors, refused scripts, refused connections."""
        found = []
        for event in self.events:
            match event:
                case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                    found.append(str(details.get("exception", details).get("description")))
                case {"method": "Log.entryAdded", "params": {"entry": entry}}:
                    found.append(str(entry["text"]))
        return found

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for, data URIs by their first letters."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"][:200] for event in sent]

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer; events on the way are kept."""
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            if "method" in message:
                self.events.append(message)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            chunk = os.read(self._from_browser, 1 << 20)
            if not chunk:
                raise ConnectionError("the browser has ended")
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded


@contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """A browser of its own with an empty profile in the folder `profile`. Raises NoBrowser."""
    program = next((path for path in map(shutil.which, NAMES) if path), None)
    if program is None:
        raise NoBrowser(f"none of {', '.join(NAMES)} is installed")
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    process = _start(program, profile, commands, answers)
    os.close(commands)
    os.close(answers)
    try:
        yield Page(to_browser, from_browser)
    finally:
        os.close(to_browser)  # the browser ends with its pipe
        os.close(from_browser)
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _start(program: str, profile: Path, commands: int, answers: int) -> int:
    """Start a browser that reads commands from its descriptor 3 and writes answers to 4."""
    # Away from 3 and 4 themselves, so that neither copy below overwrites the other's source.
    commands, answers = (fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 10) for pipe in (commands, answers))
    quiet = os.open(profile / "browser.log", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        return os.posix_spawn(
            program,
            [program, *_FLAGS, f"--user-data-dir={profile}"],
            {**os.environ, "HOME": str(profile)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, commands, 3),
                (os.POSIX_SPAWN_DUP2, answers, 4),
                (os.POSIX_SPAWN_DUP2, quiet, 1),
                (os.POSIX_SPAWN_DUP2, quiet, 2),
            ],
            setpgroup=0,
        )
    finally:
        for descriptor in (commands, answers, quiet):
            os.close(descriptor)
