"""Child process of `bench device` and `bench offline`: one phone, measured from its start.

Run as `python -m benchmarks.support.children.device FILE STARTED`, FILE with what is asked and
STARTED the parent's monotonic clock in ns; prints one JSON object. All sockets are refused.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20


def main(asked: dict[str, Any], started: int) -> dict[str, Any]:
    """Answer the first request of a phone with a history, then many of many users.

    asked: `home` with an installed release, `release`: its bundle folder, `engine`, `variant`
    (None: the release's), `histories` (rows, events, ts of users), `now_utc`, `k`, `requests`,
    `seed`, `busy_rounds`: 0, or in so many rounds the requests are asked on the machine as it is
    and as many beside one busy loop a core.
    """
    from pocketrec_edge.device import Device
    from pocketrec_edge.memory import peak_bytes, resident_bytes
    from pocketrec_edge.offline import forbid_sockets

    forbid_sockets()
    device = Device(Path(asked["home"]), engine=asked["engine"])
    first = device.recommend(asked["k"], log_impressions=False)
    cold_ms = (time.monotonic_ns() - started) / 1e6
    found: dict[str, Any] = {
        "cold_start_ms": cold_ms,
        "source": first.source,
        "faults": [fault.text for fault in first.faults],
        "history": first.history,
        "first_rss_mib": resident_bytes() / MIB,
    }
    found |= stages(device, asked)
    found["rss_mib"] = resident_bytes() / MIB
    found["peak_mib"] = peak_bytes() / MIB
    return found


def stages(device: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each stage of many requests, each a user at a random point of the past."""
    import numpy as np

    from benchmarks.support.busy import busy_cores
    from pocketrec_bundle.features import History
    from pocketrec_bundle.reader import open_bundle
    from pocketrec_edge.faults import joined
    from pocketrec_edge.recommend.pipeline import Recommender
    from pocketrec_edge.recommend.query import Query

    recommender = device._recommender  # one a phone: a second one would take its memory twice
    if asked["variant"] is not None:
        # The store has the files that this device runs; the bundle folder has all.
        bundle = open_bundle(Path(asked["release"]), verify=False)
        recommender = Recommender(bundle, asked["engine"], asked["variant"])
    rng = np.random.default_rng(asked["seed"])
    pasts = [
        History(np.array(rows, np.int32), np.array(events, np.int32), np.array(ts, np.int64))
        for rows, events, ts in asked["histories"]
    ]
    sources: set[str] = set()
    cpu_s: list[float] = []

    def ask(requests: range, samples: dict[str, list[float]]) -> None:
        for at in requests:
            past = pasts[at % len(pasts)]
            end = int(rng.integers(1, len(past) + 1))
            history = History(past.rows[:end], past.events[:end], past.ts[:end])
            began = time.process_time()
            slate = recommender.recommend(Query(history, asked["now_utc"], asked["k"]))
            cpu_s.append(time.process_time() - began)
            sources.add(slate.source if not slate.faults else joined(slate.faults))
            for stage, ms in slate.stage_ms.items():
                samples.setdefault(stage, []).append(ms)

    idle: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    ask(range(len(pasts)), {})  # one round warms up
    sources.clear()
    cpu_s.clear()
    rounds = asked["busy_rounds"]
    bounds = [at * asked["requests"] // max(rounds, 1) for at in range(max(rounds, 1) + 1)]
    found: dict[str, Any] = {"stages": idle, "busy_stages": busy, "busy_loops": 0}
    for part in map(range, bounds, bounds[1:]):
        ask(part, idle)
        if rounds:
            with busy_cores() as found["busy_loops"]:
                ask(part, busy)
    per_request = sum(cpu_s) * 1000 / max(len(cpu_s), 1)
    return found | {"sources": sorted(sources), "cpu_ms": per_request}


if __name__ == "__main__":
    json.dump(main(json.loads(Path(sys.argv[1]).read_bytes()), int(sys.argv[2])), sys.stdout)
