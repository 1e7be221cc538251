"""Run `pocketrec` as child processes, the way a person would."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pocketrec_bundle.errors import PocketRecError

START_S = 30.0  # a server that is not up by then will not come up
POLL_S = 0.05


class ChildFailedError(PocketRecError):
    """A step of the benchmark ended with an error; its own message stands above."""


def argv(*words: str | Path) -> list[str]:
    """The command line of a child: this interpreter, this installation."""
    return [sys.executable, "-m", "pocketrec", *map(str, words)]


def call(*words: str | Path, shows_progress: bool = False) -> str:
    """Run one command and return what it printed.

    Args:
        words: after `pocketrec`.
        shows_progress: let its stderr through as it comes; else it is shown on failure only.
    """
    stderr = None if shows_progress else subprocess.PIPE
    done = subprocess.run(  # noqa: S603
        argv(*words), stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    if done.returncode != 0:
        told = " ".join(map(str, words))
        message = f"`pocketrec {told}` ended with exit code {done.returncode}."
        raise ChildFailedError(f"{message}\n{done.stderr}" if done.stderr else message)
    return done.stdout.rstrip()


def train(
    recipe: Path,
    work: Path,
    source: Path | None,
    minutes: float | None,
    *,
    final: bool = False,
) -> None:
    """Bring a recipe's tables to `work/data` and its run to `work/run`.

    Args:
        recipe: TOML.
        work: folder of the benchmark.
        source: folder with the raw data; None lets the registry fetch it.
        minutes: cap of the training; None leaves the recipe's own, by default none.
        final: make the final fit too; a bundle of it has seen the test events.
    """
    given: tuple[str | Path, ...] = ("--source", source) if source else ()
    budget = ("--minutes", str(minutes)) if minutes else ()
    call("data", recipe, "--out", work / "data", *given, shows_progress=True)
    words: tuple[str | Path, ...] = ("train", recipe, "--data", work / "data")
    words += ("--out", work / "run", *budget)
    words += () if final else ("--no-final",)
    call(*words, shows_progress=True)


def call_json(*words: str | Path) -> dict[str, Any]:
    """Run one command with `--json` and parse the one object it prints."""
    found: dict[str, Any] = json.loads(call(*words, "--json"))
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Parse a file that a command wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@contextmanager
def server(repo: Path, work: Path, *options: str | Path, port: int = 0) -> Iterator[str]:
    """Serve a repository on a loopback port, 0: a free one; the process ends with the block."""
    with server_process(repo, work, *options, port=port) as (url, _):
        yield url


@contextmanager
def server_process(
    repo: Path, work: Path, *options: str | Path, port: int = 0
) -> Iterator[tuple[str, int]]:
    """Serve as `server` does; its address and its process id."""
    port_file = work / "port"
    port_file.unlink(missing_ok=True)
    with (work / "server.log").open("ab") as log:
        words = ("serve", "--repo", repo, "--port", str(port), "--port-file", port_file)
        command = argv(*words, *options)
        child = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            yield f"http://127.0.0.1:{wait_for_port(child, port_file, log.name)}", child.pid
        finally:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_for_port(child: subprocess.Popen[bytes], port_file: Path, log: str) -> int:
    """Wait until the server has written the port it listens on."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if child.poll() is not None:
            raise ChildFailedError(
                f"the server ended with exit code {child.returncode}; see {log}."
            )
        if port_file.exists() and (text := port_file.read_text().strip()):
            return int(text)
        time.sleep(POLL_S)
    raise ChildFailedError(f"the server named no port within {START_S:.0f} s; see {log}.")
