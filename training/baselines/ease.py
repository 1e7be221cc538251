"""EASE: a linear autoencoder over items, solved in closed form."""

import numpy as np

from bundle.features import History
from training.baselines.scorer import Floats, Scorer, user_item_table
from training.dataset import Dataset


def ease(data: Dataset, l2: float = 300.0) -> Scorer:
    """EASE (Steck 2019, eq. 8): B = -P / diag(P) off the diagonal, P = (X'X + l2 I)^-1.

    Time grows with n_items^3: 5 s for 4,000 items on one core.
    """
    weights = ease_weights(data, l2)

    def score(_user: int, past: History) -> Floats:
        return np.asarray(weights[np.unique(past.rows)].sum(0), np.float32)

    return score


def ease_weights(data: Dataset, l2: float) -> Floats:
    """Return B, float32 [n_items, n_items]; row = item of the history, column = item scored."""
    table = user_item_table(data)
    gram = (table.T @ table).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += l2
    precision = np.linalg.inv(gram)
    weights: Floats = (-precision / np.diag(precision)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
