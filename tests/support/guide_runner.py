"""Run the code blocks of pages: reads a JSON job on stdin, writes one JSON result a line.

A process of its own, because `--offline` and `forbid_sockets` refuse sockets for good. It imports
once and forks: one child for each command, one for all Python blocks of a page.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")
SECONDS = 120


def command(words: list[str], typed: str, answer: Connection) -> None:
    """Run one `pocketrec` command; sends its exit code and what it printed."""
    from pocketrec.cli import main

    out = io.StringIO()
    sys.stdin = io.StringIO(typed)
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main.main(words[1:], prog_name="pocketrec")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:  # noqa: BLE001 (whatever it is, it is the result)
            code = 70
            traceback.print_exc(file=out)
    answer.send((code, out.getvalue()))


def blocks(orders: Connection) -> None:
    """Run the Python blocks of a page in one namespace."""
    names: dict[str, Any] = {"__name__": "guide"}
    while (order := orders.recv()) is not None:
        line, name, text = order
        out = io.StringIO()
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                exec(compile("\n" * line + text, name, "exec"), names)  # noqa: S102 (the guides')
            except BaseException:  # noqa: BLE001 (whatever it is, it is the result)
                code = 1
                traceback.print_exc(file=out)
        orders.send((code, out.getvalue()))


class Page:
    """One page in its folder: at most one server and one Python process."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.server: Any = None
        self.address: str | None = None
        self.python: Any = None
        self.orders: Any = None

    def run(self) -> None:
        """Run all steps; a failure does not stop the next ones."""
        os.chdir(self.job["folder"])
        for step in self.job["steps"]:
            start = time.process_time() + sum(os.times()[2:4])
            code, text = getattr(self, step["kind"])(step)
            spent = time.process_time() + sum(os.times()[2:4]) - start
            found = {"page": self.job["page"], "line": step["line"], "code": code, "text": text}
            found |= {"seconds": round(spent, 2), "step": step.get("words") or step["kind"]}
            print(json.dumps(found), flush=True)  # noqa: T201 (the protocol)
        if self.orders is not None:
            self.orders.send(None)
            self.python.join(SECONDS)
        if self.server is not None:
            self.server.terminate()
            self.server.join(SECONDS)

    def resolved(self, text: str) -> str:
        """Put in the address of the server and what earlier commands made."""
        if self.address is not None:
            text = text.replace("http://127.0.0.1:8080", self.address)
        for word, (words, pattern) in self.job["asked"].items():
            if word in text:
                _, printed = self.forked(words, "")
                text = text.replace(word, re.findall(pattern, printed)[0])
        return text

    def forked(self, words: list[str], typed: str) -> tuple[int, str]:
        """Run a command in a child."""
        mine, its = FORK.Pipe()
        child = FORK.Process(target=command, args=(words, typed, its))
        child.start()
        its.close()
        try:
            if not mine.poll(SECONDS):
                child.kill()
                return 124, f"not done in {SECONDS} s"
            code, text = mine.recv()
            return code, text
        except EOFError:
            return 1, "the command ended its process"
        finally:
            child.join(SECONDS)

    def shell(self, step: dict[str, Any]) -> tuple[int, str]:
        """Run a command in the foreground."""
        return self.forked([self.resolved(word) for word in step["words"]], step["typed"])

    def serve(self, step: dict[str, Any]) -> tuple[int, str]:
        """Start a server on a free port, which runs until the page ends."""
        port = Path("server.port")
        port.unlink(missing_ok=True)
        if self.server is not None:
            self.server.terminate()
            self.server.join(SECONDS)
        words = [*step["words"], "--port", "0", "--port-file", str(port)]
        mine, its = FORK.Pipe()
        self.server = FORK.Process(target=command, args=(words, "", its))
        self.server.start()
        end = time.monotonic() + SECONDS
        while not port.exists() and self.server.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        if not port.exists():
            code, text = mine.recv()
            return code, text
        self.address = f"http://127.0.0.1:{port.read_text()}"
        return 0, self.address

    def files(self, step: dict[str, Any]) -> tuple[int, str]:
        """Run `mkdir`, `mv` or `cp`."""
        done = subprocess.run(step["words"], capture_output=True, text=True)
        return done.returncode, done.stderr

    def write(self, step: dict[str, Any]) -> tuple[int, str]:
        """Write the file that a block shows."""
        Path(step["name"]).parent.mkdir(parents=True, exist_ok=True)
        Path(step["name"]).write_text(step["text"])
        return 0, ""

    def block(self, step: dict[str, Any]) -> tuple[int, str]:
        """Run a Python block after those before it."""
        if self.orders is None:
            self.orders, its = FORK.Pipe()
            self.python = FORK.Process(target=blocks, args=(its,))
            self.python.start()
            its.close()
        self.orders.send((step["line"], self.job["page"], self.resolved(step["text"])))
        try:
            code, text = self.orders.recv()
            return code, text
        except EOFError:
            return 1, "the block ended its process"


if __name__ == "__main__":
    # What most children need, imported once: a third of the processor time.
    for module in ("duckdb", "ibis", "onnxruntime", "pandas", "pyarrow.parquet", "tuf.ngclient"):
        importlib.import_module(module)
    for module in ("pocketrec_edge.sync.client", "pocketrec_server.app"):
        importlib.import_module(module)

    for each in json.load(sys.stdin):
        Page(each).run()
