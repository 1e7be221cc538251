"""Three steps on one device and on two logical ones; prints how far the weights are apart.

The argument is a list of `[retrieval]` tables; one line of the output answers each.

A process of its own: TensorFlow makes logical devices only before its first operation.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import TRAIN, Dataset, Items
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.towers.data_parallel import mirrored
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.sequences import batches
from pocketrec_training.towers.step import TowerFit

N_ITEMS, N_USERS, N_EVENTS = 20, 21, 6


def dataset() -> Dataset:
    n = N_USERS * N_EVENTS
    rng = np.random.default_rng(0)
    return Dataset(
        items=Items(
            ids=[f"i{i}" for i in range(N_ITEMS)],
            titles=[f"Film {i}" for i in range(N_ITEMS)],
            categories=[("a",)] * N_ITEMS,
            price=np.full(N_ITEMS, 2.0, np.float32),
            year=np.full(N_ITEMS, 2000.0, np.float32),
        ),
        user_ids=[f"u{i}" for i in range(N_USERS)],
        offsets=np.arange(0, n + 1, N_EVENTS),
        rows=rng.integers(0, N_ITEMS, n).astype(np.int32),
        events=np.zeros(n, np.int32),
        ts=np.tile(np.arange(N_EVENTS), N_USERS) * 60,
        fold=np.full(n, TRAIN, np.int8),
    )


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, parts)
    # Each graph runs three times: to optimize it takes longer than it saves.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    for retrieval in json.loads(sys.argv[1]):
        print(json.dumps(compared(retrieval)), flush=True)  # noqa: T201


def compared(retrieval: dict[str, Any]) -> dict[str, float]:
    shape = {"dim": 8, "blocks": 1, "heads": 1, "max_history": 6, "title_buckets": 8, "batch": 7}
    rates = {"dropout": 0.0, "id_dropout": 0.0, "average": 0.5, "quantize_from": 0.6}
    value = {"name": "t", "data": {"dataset": "d"}, "retrieval": shape | rates | retrieval}
    recipe = parse_recipe(value, "t")
    spec = FeatureSpec(
        dim=8,
        max_history=6,
        event_types=("rating", "like"),
        categories=("a",),
        max_categories=1,
        heads=("engage",),
        head_weights=(1.0,),
        candidates=5,
    )
    data = dataset()
    inputs = item_inputs(spec, data.items, 8)
    found = []
    for replicas in (1, 2):
        # XLA compiles a step for 10 s: one of the settings has the compiled step of one device.
        tf.config.run_functions_eagerly(replicas == 1 and retrieval != {"loss": "softmax"})
        keras.utils.set_random_seed(1)
        fit = TowerFit(recipe, spec, data, inputs, None, mirrored(replicas))
        rng = np.random.default_rng(2)
        first = [v.numpy() for v in fit.kept]
        fit.begin_epoch()
        windows = list(batches(data, 6, 7, rng))
        losses = [
            fit.step(part, done, rng) for part, done in zip(windows, (0.3, 0.5, 0.9), strict=True)
        ]
        now = [v.numpy() for v in fit.kept]
        found.append((first, losses, now, fit.snapshot()))
    one, two = found

    def apart(a: list, b: list) -> float:
        pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True)]
        # Weights and losses; the counters of the random generators are whole numbers.
        return max(float(np.abs(x - y).max()) for x, y in pairs if x.dtype.kind == "f")

    return {
        "first": apart(one[0], two[0]),
        "losses": apart(one[1], two[1]),
        "weights": apart(one[2], two[2]),
        "averages": apart(one[3], two[3]),
        "moved": apart(one[0], one[2]),
    }


if __name__ == "__main__":
    main()
