"""The process that simulates one class's phones in turn, so that its memory can be measured.

`python -m pocketrec_edge.simulator.child` reads a job as JSON from stdin. It writes a line of JSON
for each phone, and a last line with its peak resident memory.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pocketrec_edge.memory import peak_bytes
from pocketrec_edge.offline import forbid_sockets
from pocketrec_edge.simulator.device_profiles import DeviceClass, Period
from pocketrec_edge.simulator.device_session import Plan, run_session


def main() -> None:
    """Run the job. Any error ends the process; the parent reports its traceback."""
    job: dict[str, Any] = json.load(sys.stdin)
    plan = Plan(**job["plan"])
    if plan.server is None:
        forbid_sockets()
    value = job["class"]
    periods = tuple(Period(**each) for each in value["period"])
    kind = DeviceClass(**{**value, "period": periods})
    for n in range(job["devices"]):
        name = f"{kind.name}-{n}"
        home = Path(job["work"]) / name
        result = run_session(kind, plan, home, name)
        if not job["keep"]:
            shutil.rmtree(home, ignore_errors=True)
        _write_line({"result": result.to_json()})
    _write_line({"peak_bytes": peak_bytes()})


def _write_line(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
