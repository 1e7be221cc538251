"""Drive one tab of a headless Chromium over its debugging pipe: click, measure, photograph, check.

The Chrome DevTools Protocol: JSON messages that end in a NUL, ours in on its descriptor 3 and its
answers out on 4. Nothing has to be installed for it.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MOST_S = 180.0
"""A browser that is not done by then is ended."""
AXE, AXE_SHA256 = "4.10.3", "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb"
_LAUNCH = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, wanted in zip(ours, (3, 4)):
    os.dup2(number, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """Where the browser is, if it is there."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Tab:
    """A tab with what it complained of: errors of its console, such as what a policy refused."""

    def __init__(self, to: BinaryIO, out: BinaryIO) -> None:
        self._to, self._out, self._number = to, out, 0
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        self._loads = 0
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        found = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Open a page and wait until it is there."""
        before = self._loads
        self._ask("Page.navigate", url=url)
        self._wait_for_load(before)

    def click(self, selector: str) -> None:
        """Click on an element of a page that leads to another, and wait until that is there."""
        before = self._loads
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self._wait_for_load(before)

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    def press(self, key: str) -> None:
        """Press Enter, or another key that writes nothing, in the element that has the focus."""
        text = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, **text)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value; promises are awaited."""
        found = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def show_as(self, width: int, scheme: str, height: int = 900, scale: float = 1.0) -> None:
        """Be a screen of a width, light or dark."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 640,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._ask("Emulation.setEmulatedMedia", features=[feature])

    def photograph(self, out: Path) -> None:
        """Write what the screen shows as PNG, once two frames were painted in its present size."""
        frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.run(f"{frame}.then(() => 0)")
        found = self._ask("Page.captureScreenshot", format="png")
        out.write_bytes(base64.b64decode(found["data"]))

    def _wait_for_load(self, before: int) -> None:
        while self._loads == before:
            self._read()

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._out.read(1)) not in (b"\0", b""):
            data += byte
        if not byte:
            raise RuntimeError("Chromium is gone")
        message: dict[str, Any] = json.loads(data)
        method = message.get("method")
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(message["params"]["exceptionDetails"]["text"])
        return message


@contextmanager
def open_tab(chromium: str) -> Iterator[Tab]:
    """Start a browser with a fresh profile; it is gone when the block ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _LAUNCH, str(in_read), str(out_write), *words],
            pass_fds=(in_read, out_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(in_read)
        os.close(out_write)
        late = threading.Timer(MOST_S, child.kill)  # then a read ends, and says so
        late.start()
        try:
            with os.fdopen(in_write, "wb") as to, os.fdopen(out_read, "rb") as out:
                yield Tab(to, out)
        finally:
            late.cancel()
            child.terminate()
            child.wait()


def fetch_axe(folder: Path) -> str | None:
    """Fetch the source of axe-core through npm, into `folder`; None where that is not possible."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    words = [npm, "pack", f"axe-core@{AXE}", "--prefer-offline", "--silent"]
    try:
        subprocess.run(words, cwd=folder, check=True, timeout=90, stdout=subprocess.DEVNULL)  # noqa: S603
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    with tarfile.open(folder / f"axe-core-{AXE}.tgz") as packed:
        member = packed.extractfile("package/axe.min.js")
        assert member is not None
        source = member.read()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()


def violations(tab: Tab, axe: str) -> list[tuple[Any, list[str]]]:
    """Rules that the page breaks, each with the elements that do."""
    if not tab.run("typeof axe === 'object'"):
        tab.run(f"{axe}; 0")
    found = tab.run("axe.run(document).then(found => found.violations)")
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


_NAMES = """(() => {
  const name = each => (each.getAttribute("aria-label") || (each.labels || [])[0]?.textContent
    || each.textContent || "").trim().replace(/\\s+/g, " ");
  const leads = new Map(), doubled = new Set();
  for (const each of document.querySelectorAll("a, button, select, input:not([type=hidden])")) {
    const to = each.tagName == "A" ? each.href : each;
    if (leads.has(name(each)) && leads.get(name(each)) !== to) doubled.add(name(each));
    leads.set(name(each), to);
  }
  return [...doubled];
})()"""
_SCROLLING = """[...document.querySelectorAll("*")].filter(each =>
  each.scrollWidth > each.clientWidth
  && ["auto", "scroll"].includes(getComputedStyle(each).overflowX)
  && !(each.tabIndex === 0 && each.getAttribute("role") === "region"
    && each.getAttribute("aria-label"))
).map(each => each.outerHTML.slice(0, 100))"""


def doubled_names(tab: Tab) -> list[str]:
    """Names that several controls of the page share, or links to several addresses."""
    found: list[str] = tab.run(_NAMES)
    return found


def unreachable(tab: Tab) -> list[str]:
    """Parts of the page that scroll sideways, but that a keyboard or screen reader cannot reach."""
    found: list[str] = tab.run(_SCROLLING)
    return found
