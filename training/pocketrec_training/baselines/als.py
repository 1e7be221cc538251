"""ALS for implicit feedback, from the library `implicit` (extra `train`)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.scorer import Asked, Build, Scorer, marked, user_item_table
from pocketrec_training.data.dataset import Dataset


def als(data: Dataset) -> Build:
    """Matrix factorisation with confidence 1 + alpha (Hu, Koren and Volinsky 2008).

    The user's factors are solved again from the history of the query, as on a server.
    Parameters: factors, regularization, alpha.
    """
    from implicit.als import AlternatingLeastSquares

    table = user_item_table(data)

    def build(factors: int = 64, regularization: float = 0.05, alpha: float = 1.0) -> Scorer:
        # implicit warns where BLAS has threads of its own beside its pool.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=int(factors),
                regularization=regularization,
                alpha=alpha,
                iterations=15,
                random_state=0,
                use_gpu=False,
            )
            with _singular_told():
                model.fit(table, show_progress=False)
        items = np.asarray(model.item_factors, np.float32)

        def score(asked: Asked) -> Floats32:
            marks = marked(asked, len(items))
            with _singular_told():
                found = model.recalculate_user(np.arange(len(asked)), marks)
            users = np.asarray(found, np.float32)
            return np.asarray(users @ items.T, np.float32)

        return score

    return build


@contextmanager
def _singular_told() -> Iterator[None]:
    """Raise what numpy's solvers raise where more factors than data leave a system singular."""
    try:
        yield
    except ValueError as err:
        raise np.linalg.LinAlgError(str(err)) from err
