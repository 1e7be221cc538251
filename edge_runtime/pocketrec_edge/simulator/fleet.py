"""Simulate a fleet: a process per class, one class at a time, so that phones do not compete."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pocketrec_edge.errors import SimulationFailedError
from pocketrec_edge.simulator.device_profiles import DeviceClass
from pocketrec_edge.simulator.device_session import Plan, SessionResult

_TOLD = 600
"""Maximum characters of a child's traceback in the error message."""


def run_class(
    kind: DeviceClass,
    n_devices: int,
    plan: Plan,
    work: Path,
    *,
    keep: bool,
    on_result: Callable[[], object],
) -> tuple[list[SessionResult], int]:
    """Simulate all phones of a class in one process.

    Args:
        kind: the class.
        n_devices: number of phones.
        plan: settings of the run.
        work: folder for the phones' folders.
        keep: keep the phones' folders.
        on_result: called after each phone.

    Returns:
        The results, and the process's peak resident memory in bytes.

    Raises:
        SimulationFailedError: the process ended with an error.
    """
    job = {
        "class": asdict(kind),
        "plan": asdict(plan),
        "devices": n_devices,
        "work": str(work),
        "keep": keep,
    }
    command = [sys.executable, "-m", "pocketrec_edge.simulator.child"]
    errors = work / f"{kind.name}.stderr"
    results: list[SessionResult] = []
    peak = 0
    with (
        errors.open("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(  # noqa: S603 (our own module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
        ) as child,
    ):
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(job))
            child.stdin.close()
            for line in child.stdout:
                line_value = json.loads(line)
                if "result" in line_value:
                    results.append(SessionResult.from_json(line_value["result"]))
                    on_result()
                peak = line_value.get("peak_bytes", peak)
        except BaseException:
            child.kill()
            raise
        code = child.wait()
        if code:
            stderr.seek(0)
            raise SimulationFailedError(
                f"class {kind.name}: the process of its phones ended with exit code {code} after "
                f"{len(results)} of {n_devices} phones: {stderr.read()[-_TOLD:]}"
            )
    errors.unlink(missing_ok=True)
    return results, peak
