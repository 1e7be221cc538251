"""Trains a recipe, killed at one step after the other; each try goes on where the last one died."""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.support import kill_steps
from pocketrec_training import train
from pocketrec_training.ranker import epochs as ranker_epochs
from pocketrec_training.ranker import fit as ranker_fit
from pocketrec_training.recipe.schema import load_recipe

folder, work, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
recipe = load_recipe(folder / "r.toml")
MORE = (
    (keras.Model, "save"),
    (ranker_epochs, "draw"),
    (np, "save"),
    (ranker_fit, "calibrate"),
)


def train_into(name: str) -> None:
    train.train(recipe, folder / "data", work / name)


# Steps run uncompiled: a fork would compile for 13 s to take a few of them.
tf.config.run_functions_eagerly(True)
# TensorFlow is imported but has not run: each fork starts it for itself.
facts: dict[str, Any] = {"whole": kill_steps.forked(lambda: train_into("whole"), None), "after": []}
code, n = -9, 0
while code == -9:
    code = kill_steps.forked(lambda: train_into("run"), n, *MORE)
    left = [path.name for path in work.iterdir() if path.name not in ("whole", "run")]
    new = sorted(path.name for path in (work / "run").iterdir())
    facts["after"].append([code, new, left])
    n += stride
sys.stdout.write(json.dumps(facts))
