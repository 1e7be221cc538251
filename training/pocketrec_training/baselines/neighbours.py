"""Item-kNN: items with similar sets of users."""

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.ease import together
from pocketrec_training.baselines.scorer import Asked, Build, Scorer, faded
from pocketrec_training.data.dataset import Dataset


def item_knn(data: Dataset) -> Build:
    """Cosine between items' user sets, summed over the history (Sarwar et al. 2001).

    Parameters: neighbours, only so many of each item's nearest count, 0 = all; decay, weight of an
    event of the history against the next one.
    """
    overlap = together(data)
    lengths = np.sqrt(np.maximum(np.diag(overlap), 1.0))
    cosine: Floats32 = (overlap / lengths[:, None] / lengths[None]).astype(np.float32)
    np.fill_diagonal(cosine, 0.0)

    def build(neighbours: int = 0, decay: float = 1.0) -> Scorer:
        kept = _nearest(cosine, int(neighbours))

        def score(asked: Asked) -> Floats32:
            return np.asarray(faded(asked, len(kept), decay) @ kept, np.float32)

        return score

    return build


def _nearest(cosine: Floats32, neighbours: int) -> Floats32:
    """Return the matrix with only the largest `neighbours` of each row; 0 = all."""
    if not 0 < neighbours < len(cosine):
        return cosine
    least = np.partition(cosine, len(cosine) - neighbours, axis=1)[:, -neighbours]
    return np.where(cosine < least[:, None], np.float32(0), cosine)
