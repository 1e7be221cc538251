"""SIGKILL at the n-th step that touches the disk, in a forked child; tests import this, too."""

import json
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk import files

STEPS: list[tuple[Any, str]] = [
    (os, "fsync"),
    (os, "mkdir"),
    (shutil, "rmtree"),
    (Path, "replace"),
    (Path, "unlink"),
    (files, "_swap"),
]


def arm(n: int, more: tuple[tuple[Any, str], ...] = ()) -> None:
    """Make this process kill itself before its n-th step, counted from 0."""
    left = n

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*args, **kwargs)

        return call

    for owner, name in (*STEPS, *more):
        setattr(owner, name, counted(getattr(owner, name)))


def forked(job: Callable[[], object], n: int | None, *more: tuple[Any, str]) -> int:
    """Run a job in a fork, killed at step n or not at all; its exit code, -9 if killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if n is not None:
                arm(n, more)
            job()
            code = 0
        except BaseException:  # noqa: BLE001 (a fork must not go on as its parent)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def asked(job: Callable[[], Any]) -> Any:
    """What a job gives, as JSON, in a fork, so that this process stays without threads and sockets.

    None where it failed; its traceback is on stderr.
    """
    reading, writing = os.pipe()

    def tell() -> None:
        with os.fdopen(writing, "w") as stream:
            json.dump(job(), stream)

    code = forked(tell, None)  # what it tells fits into a pipe
    os.close(writing)
    with os.fdopen(reading) as stream:
        return json.load(stream) if code == 0 else None


class Remembered:
    """A slow function without effects; after `replay`, its answers come again in their order."""

    busy = False  # inside one of them: a replay will not come to what they call

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.answers: list[Any] = []
        self.at: int | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if Remembered.busy:
            return self.function(*args, **kwargs)
        if self.at is None:
            Remembered.busy = True
            self.answers.append(self.function(*args, **kwargs))
            Remembered.busy = False
            return self.answers[-1]
        self.at += 1
        return self.answers[self.at - 1]

    def replay(self) -> None:
        self.at = 0
