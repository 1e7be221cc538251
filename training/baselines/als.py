"""ALS for implicit feedback, from the library `implicit` (extra `train`)."""

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from bundle.features import History
from training.baselines.scorer import Floats, Scorer, user_item_table
from training.dataset import Dataset


def als(
    data: Dataset, factors: int = 64, regularization: float = 0.05, alpha: float = 1.0
) -> Scorer:
    """Matrix factorisation with confidence 1 + alpha (Hu, Koren and Volinsky 2008).

    The user's factors are solved anew from the history asked about, as a server would.
    """
    from implicit.als import AlternatingLeastSquares

    n_items = len(data.items)
    # implicit warns where BLAS has threads of its own beside its pool.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=15,
            random_state=0,
            use_gpu=False,
        )
        model.fit(user_item_table(data), show_progress=False)
    items = np.asarray(model.item_factors, np.float32)

    def score(_user: int, past: History) -> Floats:
        rows = np.unique(past.rows)
        marks = csr_matrix((np.ones(len(rows), np.float32), rows, [0, len(rows)]), (1, n_items))
        return np.asarray(items @ np.asarray(model.recalculate_user(0, marks)).ravel(), np.float32)

    return score
