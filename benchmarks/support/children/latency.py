"""Child process of the demo: time many recommendations on one phone, all sockets refused.

Run as `python -m benchmarks.support.children.latency HOME ENGINE REPETITIONS`; prints one JSON
object with the milliseconds from import to first slate and the samples of every stage.
"""

import json
import sys
import time
from pathlib import Path


def main(home: Path, engine: str, repetitions: int) -> None:
    """Warm up with the first slate, imports counted, then record the stages of the others."""
    started = time.perf_counter()
    from pocketrec_edge.device import Device
    from pocketrec_edge.offline import forbid_sockets

    forbid_sockets()
    device = Device(home, engine=engine)
    first = device.recommend(10, log_impressions=False)
    first_slate_ms = (time.perf_counter() - started) * 1000
    stages: dict[str, list[float]] = {}
    for _ in range(repetitions):
        answer = device.recommend(10, log_impressions=False)
        for stage, elapsed_ms in answer.stage_ms.items():
            stages.setdefault(stage, []).append(elapsed_ms)
    found = {
        "source": first.source,
        "engine": first.engine,
        "first_slate_ms": first_slate_ms,
        "stages": stages,
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
