"""TIFU-kNN: personal item frequency with decay, mixed with that of the nearest users."""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.baskets import Baskets, baskets_of
from pocketrec_training.baselines.scorer import Asked, Build, Scorer
from pocketrec_training.data.dataset import TRAIN, Dataset


def tifu_knn(data: Dataset) -> Build:
    """Next basket by personal frequency and neighbours (Hu et al. 2020, sec. 4).

    Parameters:
        neighbours: users whose mean vector is mixed in, nearest in Euclidean distance; 0 = all.
        own_share: weight of the user's own vector (alpha of the paper).
        group: baskets a group (m), counted back from the last basket.
        within: decay from one basket of a group to the one before it (r_b).
        between: decay from one group to the one before it (r_g).
    """
    n_items = len(data.items)
    trained = np.bincount(data.event_users[data.fold == TRAIN], minlength=data.n_users)
    histories = [data.history(user, int(end)) for user, end in enumerate(trained)]
    baskets = baskets_of(histories)

    @lru_cache(maxsize=1)
    def users(group: int, within: float, between: float) -> tuple[csr_matrix, Floats32]:
        """Vectors [n_users, n_items] and their squared lengths; inf for users without events."""
        table = vectors(baskets, data.n_users, n_items, group, within, between)
        squares = np.asarray(table.multiply(table).sum(1)).ravel()
        return table, np.where(trained > 0, squares, np.inf)

    def build(
        neighbours: int = 300,
        own_share: float = 0.7,
        group: int = 7,
        within: float = 0.9,
        between: float = 0.7,
    ) -> Scorer:
        table, squares = users(group, within, between)
        most = int((trained > 0).sum()) - 1  # nobody is their own neighbour
        k = min(int(neighbours) or most, most)

        def score(asked: Asked) -> Floats32:
            past = baskets_of([history for _, history in asked])
            own = vectors(past, len(asked), n_items, group, within, between)
            if k < 1 or own_share == 1:
                return np.asarray(own.toarray(), np.float32)
            # and |own|^2, the same for all
            distances = squares - 2.0 * (own @ table.T).toarray()  # [n, n_users]
            distances[np.arange(len(asked)), [user for user, _ in asked]] = np.inf
            nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
            shape, ends = (len(asked), data.n_users), np.arange(len(asked) + 1) * k
            share = np.full(nearest.size, (1 - own_share) / k, np.float32)
            others = csr_matrix((share, nearest.ravel(), ends), shape) @ table
            return np.asarray((own_share * own + others).toarray(), np.float32)

        return score

    return build


def vectors(
    baskets: Baskets, n: int, n_items: int, group: int, within: float, between: float
) -> csr_matrix:
    """Return the decayed personal item frequencies of n histories, float32 [n, n_items] (sec. 4.1).

    In a group of m baskets, basket j counts within^(m - j), divided by m; of k groups, group i
    counts between^(k - i), divided by k. The oldest group may hold fewer than m.
    """
    ages, sizes = baskets.ages, baskets.sizes
    size = np.minimum(group, sizes - ages // group * group)
    faded = np.power(float(within), ages % group) * np.power(float(between), ages // group)
    weights = (faded / size / -(-sizes // group)).astype(np.float32)
    return csr_matrix((weights, (baskets.owners, baskets.rows)), (n, n_items))
