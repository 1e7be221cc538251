"""User vectors of histories in the data, and how well they rank what came next.

Nothing here asks which library Keras computes with.
"""

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import BlockScorer, rank_targets
from pocketrec_training.towers.sequences import gather_windows

_BATCH = 512
TOP = 10
"""Places that the validation figure counts."""


def user_vectors(
    user_tower: keras.Model,
    table: Floats32,
    spec: FeatureSpec,
    data: Dataset,
    cases: list[tuple[int, int]],
) -> Floats32:
    """Run the user tower for histories that end before each (user, position); float32 [n, d]."""
    ends = np.array([data.offsets[user] + end for user, end in cases])
    starts = np.array([data.offsets[user] + max(0, end - spec.max_history) for user, end in cases])
    # The moment of the question is the moment of the held-out event.
    window = gather_windows(data, starts, ends, spec.max_history, now_utc=data.ts[ends])
    vectors = table[window.rows] * window.real[..., None]
    lengths = window.real.sum(1).astype(np.int32)
    inputs = [vectors, window.events, window.ages_s, lengths]
    parts = [
        ops.convert_to_numpy(
            user_tower([column[at : at + _BATCH] for column in inputs], training=False)
        )
        for at in range(0, len(cases), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def tower_scorer(
    user_tower: keras.Model, table: Floats32, spec: FeatureSpec, data: Dataset
) -> BlockScorer:
    """Score all items by the inner product of user vector and item vector."""

    def score(block: list[tuple[int, int]]) -> NDArray[np.float32]:
        return user_vectors(user_tower, table, spec, data, block) @ table.T

    return score


def validation_ndcg(
    user_tower: keras.Model, table: Floats32, spec: FeatureSpec, data: Dataset, cases: Cases
) -> float:
    """Return the mean NDCG@10 of the towers over cases, as `pocketrec evaluate` computes it."""
    (ranked,) = rank_targets(tower_scorer(user_tower, table, spec, data), data, [cases], 0)
    return float(metrics.at_k(ranked.ranks, TOP, cases.offsets)[f"ndcg@{TOP}"].mean())
