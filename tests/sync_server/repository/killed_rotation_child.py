"""Changes of a key, killed at step 0, 1, 2, ... until one gets through; each is run again."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.support import kill_steps
from pocketrec_edge.sync.client import sync
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.rotation import rotate

folder, name, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
places = {each: folder / each for each in ("repo", "keys")}
for each, place in places.items():
    shutil.copytree(place, folder / f"{each} before")


def change() -> None:
    rotate(places["repo"], load_signers(places["keys"]), [name])


facts: dict[str, Any] = {"killed": 0, "phones": [], "left": []}
for step in range(1000):
    for each, place in places.items():
        shutil.rmtree(place)
        shutil.copytree(folder / f"{each} before", place)
    code = kill_steps.forked(change, step, (Path, "rename"))
    assert code in (0, -9), code
    if code:
        facts["killed"] += 1
        change()
    found = state.load(places["repo"])
    signer = load_signers(places["keys"])[name].public_key.keyid
    by = found.targets["targets"] if name in found.targets else found.root
    assert signer in by.get_delegated_role(name.partition("-")[0]).keyids
    facts["left"] += {path.stem for path in places["keys"].glob(f"{name}*.pem")}
    root = folder / "1.root.json"
    done = sync(folder / f"phone {step}", url, lambda _: None, root_path=root)
    facts["phones"].append(done.status)
    if not code:
        break
sys.stdout.write(json.dumps(facts))
