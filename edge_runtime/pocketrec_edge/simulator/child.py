"""The process that simulates one class's phones, so that its memory can be measured.

`python -m pocketrec_edge.simulator.child` reads a job, a line of JSON, from stdin. Without pauses
each phone lives to its end before the next one begins. With pauses all phones live until the first
pause, and go on when a line arrives on stdin.

It writes lines of JSON: `result` for each phone at its end; `lived` for each phone before a pause,
and `pause` after the last of them; at the end `peak_bytes`, its peak resident memory.
"""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pocketrec_edge.memory import peak_bytes
from pocketrec_edge.offline import forbid_sockets
from pocketrec_edge.simulator.device_profiles import DeviceClass, Period
from pocketrec_edge.simulator.device_session import Phone
from pocketrec_edge.simulator.plan import Plan


def main() -> None:
    """Run the job. Any error ends the process; the parent reports its traceback."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    plan = Plan(**job["plan"])
    if plan.server is None:
        forbid_sockets()
    value = job["class"]
    periods = tuple(Period(**each) for each in value["period"])
    kind = DeviceClass(**{**value, "period": periods})
    homes = [Path(job["work"]) / f"{kind.name}-{n}" for n in range(job["devices"])]
    numbered = enumerate(homes, job["first"])
    phones: Iterable[Phone] = (Phone(kind, plan, home, home.name, n) for n, home in numbered)
    if job["pauses"]:
        phones = list(phones)
    for pause in job["pauses"]:
        for phone in phones:
            phone.live_until(pause)
            _write_line({"lived": pause})
        _write_line({"pause": pause})
        if not sys.stdin.readline():
            raise SystemExit("the simulator ended during a pause")
    for home, phone in zip(homes, phones, strict=True):
        phone.live_until(plan.minutes)
        result = phone.end()
        if not job["keep"]:
            shutil.rmtree(home, ignore_errors=True)
        _write_line({"result": result.to_json()})
    _write_line({"peak_bytes": peak_bytes()})


def _write_line(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
