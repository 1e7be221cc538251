"""User vectors of histories in the data, and how well they rank what came next.

Nothing here asks which library Keras computes with.
"""

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bundle.features import FeatureSpec
from training.dataset import Dataset
from training.windows import gather_windows

Floats = NDArray[np.float32]
_BATCH = 512


def user_vectors(
    user_tower: keras.Model,
    table: Floats,
    spec: FeatureSpec,
    data: Dataset,
    cases: list[tuple[int, int]],
) -> Floats:
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


def validation_ndcg(
    user_tower: keras.Model,
    table: Floats,
    spec: FeatureSpec,
    data: Dataset,
    cases: list[tuple[int, int]],
) -> float:
    """NDCG@10 of held-out events (user, position) among all items not seen before."""
    gains = []
    for at in range(0, len(cases), _BATCH):
        part = cases[at : at + _BATCH]
        scores = user_vectors(user_tower, table, spec, data, part) @ table.T
        for (user, end), row in zip(part, scores, strict=True):
            start = int(data.offsets[user])
            wanted = row[data.rows[start + end]]
            row[data.rows[start : start + end]] = -np.inf
            place = int((row > wanted).sum())
            gains.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    return float(np.mean(gains))
