"""Run `pocketrec` commands in forks of a process that has imported what they share.

As a program it reads a JSON object a line and answers each with a line of JSON:
    {"run": words} -> [exit code, stderr, stdout] of a command
    {"start": words, "out": path, "err": path} -> the process id of a command that goes on
    {"poll": process id} -> its exit code, null while it runs
The modules it is given are imported first; none of them may run TensorFlow, which no fork survives.
What still runs when its input ends is killed.
"""

import atexit
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pocketrec.cli import main


def started(words: list[str], out: int, err: int) -> int:
    """Run `pocketrec` in a fork that writes to these descriptors: its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    try:
        main(words, prog_name="pocketrec")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 (a fork must not go on as its parent)
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # as at the end of a process: a server stores its counts there
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(words: list[str]) -> tuple[int, str, str]:
    """Run `pocketrec` in a fork to its end: its exit code, stderr and stdout."""
    with TemporaryFile() as out, TemporaryFile() as err:
        child = started(words, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for stream in (out, err):
            stream.seek(0)
        return code, err.read().decode(), out.read().decode()


def answer(asked: dict[str, Any], ended: dict[int, int | None]) -> Any:
    """Answer one line; ended: exit codes of what was started."""
    if "run" in asked:
        return command(asked["run"])
    if "start" in asked:
        with Path(asked["out"]).open("ab") as out, Path(asked["err"]).open("ab") as err:
            child = started(asked["start"], out.fileno(), err.fileno())
        ended[child] = None
        return child
    child = asked["poll"]
    if ended[child] is None:
        found, status = os.waitpid(child, os.WNOHANG)
        ended[child] = os.waitstatus_to_exitcode(status) if found else None
    return ended[child]


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    ended: dict[int, int | None] = {}
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line), ended)) + "\n")
        sys.stdout.flush()
    for child, code in ended.items():
        if code is None and answer({"poll": child}, ended) is None:
            os.kill(child, signal.SIGKILL)
