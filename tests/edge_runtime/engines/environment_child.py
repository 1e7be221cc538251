"""Runs inside an environment that has one edge extra and nothing else; prints what happened."""

import importlib.util
import json
import sys
from pathlib import Path

from pocketrec_edge.device import Device
from pocketrec_edge.engines import select as engines

folder, home = Path(sys.argv[1]), Path(sys.argv[2])
tried: list[str] = []
opened: list[str] = []
plain = engines.open_engine


def watched(path: Path, engine: str, threads: int = 1) -> engines.Engine:
    """Load a model file, and note which ones were tried and which ones loaded."""
    tried.append(path.name)
    found = plain(path, engine, threads)
    opened.append(path.name)
    return found


engines.open_engine = watched
phone = Device(home)
phone.install(folder)
phone.close()
tried.clear()
opened.clear()
phone = Device(home)
assert phone.bundle is not None
names = {entry.sha256: entry.name for entry in phone.bundle.manifest.files}
first = phone.recommend()
phone.feedback(first.items[0].item_id, "like")
second = phone.recommend()
phone.close()
seen = ("tensorflow", "keras", "onnxruntime", "ai_edge_litert", "tflite_runtime", "ibis", "flask")
sys.stdout.write(
    json.dumps(
        {
            "installed": [name for name in seen if importlib.util.find_spec(name)],
            "loaded": sorted(
                {m.partition(".")[0] for m in sys.modules} & {*seen, "pocketrec_training"}
            ),
            "tried": [names[sha] for sha in tried],
            "opened": [names[sha] for sha in opened],
            "source": second.source,
            "faults": [*map(str, first.faults + second.faults)],
            "before": [i.item_id for i in first.items],
            "after": [i.item_id for i in second.items],
        }
    )
)
