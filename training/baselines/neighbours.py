"""Item-kNN: items whose users are alike."""

import numpy as np

from bundle.features import History
from training.baselines.scorer import Floats, Scorer, user_item_table
from training.dataset import Dataset


def item_knn(data: Dataset, neighbours: int = 0, decay: float = 1.0) -> Scorer:
    """Cosine between items' user sets, summed over the history (Sarwar et al. 2001).

    Args:
        data: its training fold is counted.
        neighbours: only so many of each item's nearest count; 0 = all.
        decay: weight of an event of the history against the one after it.
    """
    table = user_item_table(data)
    overlap = (table.T @ table).toarray()
    lengths = np.sqrt(np.maximum(np.diag(overlap), 1.0))
    cosine = (overlap / lengths[:, None] / lengths[None]).astype(np.float32)
    np.fill_diagonal(cosine, 0.0)
    if 0 < neighbours < len(cosine):
        least = np.partition(cosine, len(cosine) - neighbours, axis=1)[:, -neighbours]
        cosine[cosine < least[:, None]] = 0.0

    def score(_user: int, past: History) -> Floats:
        weights = (decay ** np.arange(len(past))[::-1]).astype(np.float32)
        return np.asarray(weights @ cosine[past.rows], np.float32)

    return score
