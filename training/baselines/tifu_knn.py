"""TIFU-kNN: personal item frequency with decay, mixed with that of the nearest users."""

import numpy as np
from scipy.sparse import csr_matrix, vstack

from bundle.features import History
from training.baselines.scorer import Floats, Scorer
from training.dataset import TRAIN, Dataset


def tifu_knn(
    data: Dataset,
    neighbours: int = 300,
    own_share: float = 0.7,
    group: int = 7,
    within: float = 0.9,
    between: float = 0.7,
) -> Scorer:
    """Next basket by personal frequency and neighbours (Hu et al. 2020, sec. 4).

    Args:
        data: users' vectors come from its training fold.
        neighbours: users whose mean vector is mixed in, nearest in Euclidean distance.
        own_share: weight of the user's own vector (alpha of the paper).
        group: baskets a group (m), counted back from the last basket.
        within: decay from one basket of a group to the one before it (r_b).
        between: decay from one group to the one before it (r_g).
    """
    n_items = len(data.items)

    def vector(past: History) -> Floats:
        return user_vector(past, n_items, group=group, within=within, between=between)

    users = data.event_users
    trained = np.bincount(users[data.fold == TRAIN], minlength=data.n_users)
    histories = [data.history(user, int(end)) for user, end in enumerate(trained)]
    table = vstack([csr_matrix(vector(past)) for past in histories]).tocsr()  # [n_users, n_items]
    squares = np.asarray(table.multiply(table).sum(1)).ravel()

    def score(user: int, past: History) -> Floats:
        own = vector(past)
        distances = squares - 2.0 * (table @ own)  # and |own|^2, the same for all
        distances[trained == 0] = np.inf
        distances[user] = np.inf  # nobody is their own neighbour
        k = min(neighbours, int(np.isfinite(distances).sum()))
        if not k:
            return own
        nearest = np.argpartition(distances, k - 1)[:k]
        others = np.asarray(table[nearest].mean(0)).ravel()
        return np.asarray(own_share * own + (1 - own_share) * others, np.float32)

    return score


def user_vector(
    history: History, n_items: int, *, group: int, within: float, between: float
) -> Floats:
    """Return the decayed personal item frequency, float32 [n_items] (sec. 4.1).

    In a group of m baskets, basket j counts within^(m - j), divided by m; of k groups, group i
    counts between^(k - i), divided by k. The oldest group may hold fewer than m.
    """
    out = np.zeros(n_items, np.float32)
    if not len(history):
        return out
    cuts = np.append(0, np.cumsum(np.diff(history.ts) > 0))
    n = int(cuts[-1]) + 1
    # Each item once a basket; `age` counts baskets back from the last.
    basket, rows = np.divmod(np.unique(cuts * n_items + history.rows), n_items)
    age = n - 1 - basket
    size = np.minimum(group, n - age // group * group)
    weights = within ** (age % group) / size * between ** (age // group) / -(-n // group)
    np.add.at(out, rows, weights.astype(np.float32))
    return out
