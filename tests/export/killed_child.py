"""Exports over an older bundle, killed at step 0, 1, 2, ... until one gets through."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.support import kill_steps
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import open_bundle
from pocketrec_export import build

run, old, folder = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
out = folder / "bundle"
# What needs TensorFlow is done once: a fork of a process that ran it must not run it again.
SLOW = ("load_trained", "load_dataset", "_measured")
remembered = [kill_steps.Remembered(getattr(build, name)) for name in SLOW]
for name, function in zip(SLOW, remembered, strict=True):
    setattr(build, name, function)
build.export_bundle(run, folder / "whole")
for function in remembered:
    function.replay()


def job() -> None:
    build.export_bundle(run, out, force=True)


def digest(path: Path) -> str:
    """Hash of a bundle that opens; else what is wrong with it."""
    try:
        open_bundle(path)
    except PocketRecError as err:
        return str(err)
    return hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


facts: dict[str, Any] = {
    "old": digest(old),
    "new": digest(folder / "whole"),
    "after": [],
    "rerun": [],
}
shutil.rmtree(folder / "whole")
code, n = -9, 0
while code == -9:
    for left in folder.iterdir():
        shutil.rmtree(left)
    shutil.copytree(old, out)
    code = kill_steps.forked(job, n)
    facts["after"].append(digest(out))
    if code == -9 and n % int(sys.argv[4]) == 0:
        again = kill_steps.forked(job, None)
        facts["rerun"].append([again, digest(out), sorted(path.name for path in folder.iterdir())])
    n += 1
facts["code"] = code
sys.stdout.write(json.dumps(facts))
