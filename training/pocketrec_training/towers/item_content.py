"""Content inputs of the item tower: words and word pairs, categories, year, price.

Nothing here is learned, so the same code encodes the training catalogue and later items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.columns import category_codes
from pocketrec_training.towers.feature_inputs import NO_FEATURES, feature_inputs
from pocketrec_training.towers.word_codes import n_tokens, padded_codes

MAX_TITLE_WORDS = 12
MAX_TITLE_TOKENS = n_tokens(MAX_TITLE_WORDS)
"""The words and the pairs of neighbours among them."""

FIRST_YEAR = 1900
N_YEARS = 200
YEARS_A_BUCKET = 4
"""A year has a vector of its own and shares one with its neighbours: a new year is not unknown."""


def item_inputs(
    spec: FeatureSpec,
    items: Items,
    title_buckets: int,
    declared: FittedFeatures = NO_FEATURES,
    *,
    known: bool = True,
) -> dict[str, NDArray[Any]]:
    """Encode items for the item tower; `known=False` leaves the id out (new items).

    Returns:
        ids i32 [n], tokens i32 [n, T], categories i32 [n, C], years i32 [n, 2] (the year, its
        bucket), price f32 [n]; 0 is padding or unknown, in price -1. Then one input for each
        declared feature, see `feature_inputs`.
    """
    n = len(items)
    # A table without titles repeats the id there, and an id says nothing of a new item.
    pairs = zip(items.ids, items.titles, strict=True)
    titles = ["" if title == item_id else title for item_id, title in pairs]
    return {
        "ids": np.arange(1, n + 1, dtype=np.int32) if known else np.zeros(n, np.int32),
        "tokens": padded_codes(titles, title_buckets, MAX_TITLE_WORDS),
        "categories": category_codes(spec, items.categories),
        "years": year_codes(items.year),
        "price": items.price,
        **feature_inputs(declared, items),
    }


def year_codes(year: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the code of each year and of its bucket, int32 [n, 2]; 0 where the year is unknown."""
    since = np.clip(year - FIRST_YEAR, 0, N_YEARS - 1).astype(np.int32)
    codes = np.stack([since + 1, since // YEARS_A_BUCKET + 1], axis=1)
    return np.where(year[:, None] >= 0, codes, 0).astype(np.int32)
