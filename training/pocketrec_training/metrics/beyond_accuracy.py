"""Measures of lists beyond accuracy: coverage, novelty, diversity, popularity bias."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.metrics.ranks import NOBODY

Lists = NDArray[np.int32]
"""int32 [n, k] item rows, best first, NOBODY where a list is shorter."""


def coverage(lists: Lists, n_items: int) -> float:
    """Share of the catalogue that stands in at least one list."""
    return len(np.unique(lists[lists != NOBODY])) / n_items


def exposure_gini(lists: Lists, n_items: int) -> float:
    """Gini index of how often each item is shown: 0 = all alike, near 1 = a few take all."""
    shown = np.sort(np.bincount(lists[lists != NOBODY], minlength=n_items)).astype(float)
    if not shown.sum():
        return 0.0
    order = np.arange(1, n_items + 1)
    return float(((2 * order - n_items - 1) * shown).sum() / (n_items * shown.sum()))


def novelty(lists: Lists, users_of_item: NDArray[Any], n_users: int) -> float:
    """Mean self-information in bits, -log2(share of users who have it) (Zhou et al. 2010).

    An item that nobody has counts as one that a single user has.
    """
    bits = -np.log2(np.maximum(users_of_item, 1) / n_users)
    return _mean(bits[lists[lists != NOBODY]])


def mean_popularity(lists: Lists, counts: NDArray[Any]) -> float:
    """Mean training events of what is shown: ARP (Yin et al. 2012)."""
    return _mean(counts[lists[lists != NOBODY]])


def mean_popularity_rank(lists: Lists, counts: NDArray[Any]) -> float:
    """Mean place, 0..1, of what is shown among all items by training events; 0 = most popular."""
    places = np.empty(len(counts))
    places[np.argsort(-counts, kind="stable")] = np.arange(len(counts)) / max(len(counts) - 1, 1)
    return _mean(places[lists[lists != NOBODY]])


def diversity(lists: Lists, vectors: NDArray[Any]) -> float:
    """Intra-list diversity: 1 - mean cosine over the pairs of a list (Ziegler et al. 2005).

    Args:
        lists: lists of fewer than two items are left out.
        vectors: float [n_items, d]; rows of zeros are unlike everything.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    found = []
    for line in lists:
        rows = line[line != NOBODY]
        if len(rows) < 2:
            continue
        # The sum over all pairs is |sum of unit vectors|^2 without the diagonal.
        together, alone = unit[rows].sum(0), (unit[rows] ** 2).sum()
        pairs = len(rows) * (len(rows) - 1)
        found.append(1.0 - (float(together @ together) - alone) / pairs)
    return _mean(np.array(found))


def category_vectors(categories: list[tuple[str, ...]]) -> NDArray[np.float32]:
    """Return 1.0 where an item bears a category, float32 [n_items, n_categories]."""
    column = {name: i for i, name in enumerate(sorted({n for names in categories for n in names}))}
    out = np.zeros((len(categories), max(len(column), 1)), np.float32)
    for row, names in enumerate(categories):
        out[row, [column[name] for name in names]] = 1.0
    return out


def measure(
    lists: Lists, data: Dataset, vectors: NDArray[Any], categories: NDArray[Any]
) -> dict[str, float]:
    """Return all of them for the lists of one method; popularity is that of the training fold.

    vectors: the model's item vectors, the same ruler for every method; categories: of
    `category_vectors`, without a column of ones the diversity by category is left out.
    """
    trained = data.fold == TRAIN
    users = data.event_users[trained]
    pairs = np.unique(np.stack([users, data.rows[trained]]), axis=1)
    users_of_item = np.bincount(pairs[1], minlength=len(data.items))
    counts = data.popularity()
    k = lists.shape[1]
    found = {
        f"coverage@{k}": coverage(lists, len(data.items)),
        f"novelty_bits@{k}": novelty(lists, users_of_item, max(len(np.unique(users)), 1)),
        f"diversity@{k}": diversity(lists, vectors),
        f"mean_popularity@{k}": mean_popularity(lists, counts),
        f"mean_popularity_rank@{k}": mean_popularity_rank(lists, counts),
        f"exposure_gini@{k}": exposure_gini(lists, len(data.items)),
    }
    if categories.any():
        found[f"category_diversity@{k}"] = diversity(lists, categories)
    return found


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else 0.0
