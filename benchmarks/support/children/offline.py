"""Child process of `bench offline`: one phone that works without a pause, its sockets counted.

Run as `python -m benchmarks.support.children.offline FILE`; prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20
SAMPLES = 200
"""Of the memory, evenly over the requests."""
LATENCIES = 20_000
"""Last totals kept, so that the benchmark itself does not grow."""


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer requests of a phone for a while.

    asked: `home` with an installed release, `item_ids` that its user takes in turn, `k`, `minutes`
    and `requests`, both of which must be reached, `act_every`: after so many requests a slate is
    logged as seen and an item taken, so that the history moves; `warm`: requests before the
    first sample.
    """
    from collections import Counter, deque

    from pocketrec_edge.device import Device
    from pocketrec_edge.memory import peak_bytes, resident_bytes

    sockets: list[str] = []

    def count(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            sockets.append(event)

    sys.addaudithook(count)
    device = Device(Path(asked["home"]), engine="litert")
    k, ids, every = asked["k"], asked["item_ids"], asked["act_every"]
    totals: deque[float] = deque(maxlen=LATENCIES)
    sources: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    resident: list[tuple[int, float, float]] = []  # requests, seconds, MiB
    began, cpu = time.monotonic(), time.process_time()
    step = max(asked["requests"] // SAMPLES, 1)
    done = 0
    while done < asked["requests"] or time.monotonic() - began < asked["minutes"] * 60:
        acts = done % every == every - 1
        answer = device.recommend(k, log_impressions=acts)
        if acts:
            device.feedback(ids[done // every % len(ids)], "like")
        done += 1
        totals.append(answer.stage_ms["total"])
        sources[answer.source] += 1
        faults.update(fault.text for fault in answer.faults)
        if done >= asked["warm"] and done % step == 0:
            resident.append((done, time.monotonic() - began, resident_bytes() / MIB))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    status = device.status().log
    assert status is not None
    device.close()
    return {
        "requests": done,
        "seconds": seconds,
        "cpu_s": cpu,
        "sources": dict(sources),
        "faults": dict(faults),
        "events": status.events,
        "log_bytes": status.log_bytes,
        "sockets": len(sockets),
        "totals_ms": list(totals),
        "resident": resident,
        "peak_mib": peak_bytes() / MIB,
    }


if __name__ == "__main__":
    json.dump(main(json.loads(Path(sys.argv[1]).read_bytes())), sys.stdout)
