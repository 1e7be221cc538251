"""Give items of few events a part of the weights of their most similar items by content.

An item without events has neither neighbours nor votes, whatever its title says. Here each item
acts as a mixture of itself and of similar items with events; its own part grows with its events.
"""

import numpy as np
from scipy.sparse import csr_matrix, diags

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.neighbours.content_features import ContentFeatures
from pocketrec_training.neighbours.similar_items import nearest_shares
from pocketrec_training.towers.feature_inputs import NO_FEATURES

NEAREST = 16
"""Similar items in a mixture. 32 found 8 of 151 new products where 16 found 14 (Online Retail II,
validation, first 20 by votes alone)."""

MIN_EVENTS = 20
"""Events of an item that lends its weights."""

_LEAST_SHARE = 0.05
"""Smaller shares of content count as 0, so that well-known items keep their weights."""


def content_mix(
    data: Dataset, content_events: float, declared: FittedFeatures = NO_FEATURES
) -> csr_matrix:
    """Return the mixture that each item acts as, float32 [n_items, n_items]; rows sum to 1.

    An item of n training events is itself by n^2 / (n^2 + content_events^2), and its most similar
    items by the rest. An item that is similar to none is only itself.

    Args:
        data: gives the events and the content.
        content_events: events at which an item is itself by half, above 0.
        declared: features of the items.
    """
    n = len(data.items)
    counts = np.bincount(data.rows[data.fold == TRAIN], minlength=n)
    lenders = np.flatnonzero(counts >= MIN_EVENTS)
    share = 1.0 / (1.0 + (counts / content_events) ** 2)
    share[share < _LEAST_SHARE] = 0.0
    borrowers = np.flatnonzero(share)
    found = csr_matrix((n, n), dtype=np.float32)
    if len(lenders) and len(borrowers):
        features = ContentFeatures(data.items, declared)(data.items)
        shares = nearest_shares(
            features[borrowers],
            csr_matrix(features[lenders].T),
            borrowers[:, None] == lenders,
            nearest=NEAREST,
        ).tocoo()
        places = borrowers[shares.row], lenders[shares.col]
        found = csr_matrix((shares.data, places), (n, n))
    share = np.where(np.asarray(found.sum(axis=1)).ravel() > 0, share, 0.0).astype(np.float32)
    return csr_matrix(diags(share) @ found + diags(1.0 - share))


def mixed(weights: Floats32, mix: csr_matrix) -> Floats32:
    """Return the weights between mixtures, M W M'; the diagonal is 0.

    A model leaves its diagonal 0. Here an item weighs for itself as much as its strongest
    neighbour does, so that a new item gets votes of the items that it is most similar to.

    Args:
        weights: float32 [n, n]; row = item of the history, column = item scored. Its diagonal is
            overwritten.
        mix: float32 [n, n], of `content_mix`.
    """
    np.fill_diagonal(weights, np.maximum(weights.max(axis=0), 0.0))
    by_column = mix @ np.asarray((mix @ weights).T)
    found = np.ascontiguousarray(by_column.T, np.float32)
    np.fill_diagonal(found, 0.0)
    return found
