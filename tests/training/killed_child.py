"""Trains two recipes, killed on the way, and goes on; prints what was found as JSON.

`tiny` is killed once from outside, when its first checkpoint is there. `many` is killed at one
step after the other; each try goes on where the last one died. Both are folders of `write_tables`.

A process of its own: it imports TensorFlow and never runs it, so that each fork can.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from uncompiled import uncompiled

from benchmarks.support import kill_steps
from pocketrec_training import train
from pocketrec_training.ranker import cross_fit, leakage
from pocketrec_training.ranker import epochs as ranker_epochs
from pocketrec_training.ranker import fit as ranker_fit
from pocketrec_training.recipe.load import load_recipe

MORE = (
    (keras.Model, "save"),
    (ranker_epochs, "draw"),
    (np, "save"),
    (ranker_fit, "calibrate"),
)


def job(folder: Path, run: Path, *, final: bool = True):
    """Return a function that trains the recipe of a folder."""
    recipe = load_recipe(folder / "r.toml")
    return lambda: train.train(recipe=recipe, data=folder / "data", out=run, final=final)


def killed_once(folder: Path) -> dict:
    """Kill a training at its first checkpoint, and go on to the end."""
    whole = job(folder, folder / "run", final=False)
    checkpoint = folder / ".run.work" / "retrieval.npz"
    child = os.fork()
    if child == 0:
        whole()
        os._exit(0)
    end = time.monotonic() + 600
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    facts = {"killed": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
    facts["finished"] = (folder / "run").exists()
    with np.load(checkpoint) as saved:
        facts["epochs"] = len(saved["curve"])
    facts["code"] = kill_steps.forked(whole, None)
    facts["left"] = checkpoint.exists()
    return facts


def killed_often(folder: Path, stride: int) -> dict:
    """Kill a training at each `stride`-th step until one gets through, over an older run."""
    # Two folds of users for five: steps of the other rankers are the same.
    leakage.SAMPLE = 2
    for module in (cross_fit, ranker_fit):
        vars(module)["FOLDS"] = 2
    work = folder / "work"
    facts: dict[str, Any] = {
        "whole": kill_steps.forked(job(folder, work / "whole"), None),
        "after": [],
    }
    code, n = -9, 0
    while code == -9:
        code = kill_steps.forked(job(folder, work / "run"), n, *MORE)
        left = [path.name for path in work.iterdir() if path.name not in ("whole", "run")]
        new = sorted(path.name for path in (work / "run").iterdir())
        facts["after"].append([code, new, left])
        n += stride
    return facts


tiny, many, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with uncompiled():  # a fork would compile for 13 s to take a few steps
    facts = {"once": killed_once(tiny), "often": killed_often(many, stride)}
sys.stdout.write(json.dumps(facts))
