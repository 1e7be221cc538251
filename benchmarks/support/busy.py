"""One busy loop a core, at this process' priority: the machine of a user who does other work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOOP = "print(flush=True)\nwhile True: pass"


@contextmanager
def busy_cores() -> Iterator[int]:
    """Keep every core that this process may use busy inside the block; gives their number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    command = (sys.executable, "-c", _LOOP)
    loops = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(cores or 1)]  # noqa: S603
    try:
        for loop in loops:
            assert loop.stdout is not None
            loop.stdout.readline()  # it runs
        yield len(loops)
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.communicate()
