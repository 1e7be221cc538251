"""Processes that run `pocketrec` as forks of one parent, so that imports are paid for once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Forked:
    """A process of `Forks.start`, with what a `Popen` has of it."""

    def __init__(self, forks: "Forks", pid: int) -> None:
        self.pid, self._forks = pid, forks

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return self._forks.ask(poll=self.pid)

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("pocketrec", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """Processes that run `pocketrec` and share their imports; see `forked_command.py`."""

    def __init__(self, *modules: str) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_command.py"), *modules],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdin is not None and self.parent.stdout is not None
        self.to, self.back = self.parent.stdin, self.parent.stdout

    def ask(self, **asked):
        self.to.write(json.dumps(asked) + "\n")
        self.to.flush()
        return json.loads(self.back.readline())

    def run(self, *words) -> tuple[int, str, str]:
        """Exit code, stderr and stdout of a command."""
        return tuple(self.ask(run=list(map(str, words))))

    def start(self, *words, out: Path, err: Path) -> Forked:
        """Start a command that goes on."""
        return Forked(self, self.ask(start=list(map(str, words)), out=str(out), err=str(err)))

    def close(self) -> None:
        self.to.close()
        self.parent.wait()
        self.back.close()
