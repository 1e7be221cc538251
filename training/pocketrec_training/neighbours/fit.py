"""Fit the item neighbours of a release: linear item models, cut to a few weights an item."""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_training import baselines
from pocketrec_training.baselines.ease import ease_weights
from pocketrec_training.baselines.item_matrix import together
from pocketrec_training.baselines.neighbours import cosines
from pocketrec_training.baselines.slist import next_item_tables, ridge
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.neighbours.content_mix import content_mix, mixed
from pocketrec_training.recipe.schema import NeighboursConfig
from pocketrec_training.towers.feature_inputs import NO_FEATURES

MOST_ITEMS = baselines.MOST_ITEMS
"""Both models solve for a matrix of items by items and hold up to four of them."""


def fit_neighbours(
    config: NeighboursConfig, data: Dataset, declared: FittedFeatures = NO_FEATURES
) -> Neighbours | None:
    """Fit on the training fold; None if the recipe asks for none.

    Args:
        config: of the recipe; its kind is not "auto".
        data: sequences.
        declared: features of the items, which count as content.

    Raises:
        RunInvalidError: the catalogue is too large for the matrix behind it.
    """
    n = len(data.items)
    k = min(config.per_item, n - 1)
    if not k:
        return None
    if n > MOST_ITEMS:
        raise RunInvalidError(
            f"neighbours: {n} items, and the fit holds a matrix of items by items up to "
            f"{MOST_ITEMS}. Set neighbours.per_item = 0 in the recipe."
        )
    with Progress("neighbours", 1) as bar:
        found = neighbours_by(config, data, mix_of(config, data, declared))
        bar.advance(1, f"{k} of each of {n:,} items")
    return found


def mix_of(config: NeighboursConfig, data: Dataset, declared: FittedFeatures) -> csr_matrix | None:
    """Return the mixture of `content_mix`; None if the recipe lets content count as nothing."""
    if not config.content_events:
        return None
    return content_mix(data, config.content_events, declared)


def neighbours_by(
    config: NeighboursConfig, data: Dataset, mix: csr_matrix | None = None
) -> Neighbours:
    """Fit the kind of the recipe, which must not be "auto", and cut it to `per_item` weights.

    mix: float32 [n_items, n_items], see `mix_of`.
    """
    if config.kind == "together":
        weights = ease_weights(data, config.l2, config.dropout)
    elif config.kind == "cosine":
        weights = cosines(together(data), config.shrink).toarray()
    else:
        weights = next_item_weights(data, config.decay, config.l2)
    if mix is not None:
        weights = mixed(weights, mix)
    return strongest(weights, min(config.per_item, len(data.items) - 1))


def next_item_weights(data: Dataset, decay: float, l2: float) -> Floats32:
    """Ridge regression of the next item on the faded past, float32 [n_items, n_items].

    B = (X'X + l2 I)^-1 X'Y; a row of X holds the events before one of the training fold, each
    worth `decay` times the one after it, and the row of Y that event (SLIT; Choi et al. 2021,
    sec. 3.3, without their weights of time).
    """
    return ridge(*next_item_tables(data, decay), l2)


def strongest(weights: Floats32, k: int) -> Neighbours:
    """Keep the k largest weights of each row by size, as int8 with a scale a row.

    weights: float32 [n, n], row = item of the history.
    """
    rows = np.sort(np.argpartition(-np.abs(weights), k - 1, axis=1)[:, :k], axis=1)
    kept, scales = quantize_rows(np.take_along_axis(weights, rows, axis=1))
    return Neighbours(rows=rows.astype(np.int32), weights=kept, scales=scales)


def save_neighbours(path: Path, neighbours: Neighbours) -> None:
    """Write them to a .npz file."""
    np.savez(path, **{name: getattr(neighbours, name) for name in Neighbours.__slots__})


def load_neighbours(path: Path) -> Neighbours:
    """Read what `save_neighbours` wrote.

    Raises:
        OSError, ValueError, KeyError: it is missing or damaged.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return Neighbours(**{name: arrays[name] for name in Neighbours.__slots__})
