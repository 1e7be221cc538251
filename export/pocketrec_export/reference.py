"""Compute the reference distributions of a release, for its model card."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.reference import Reference, reference_of
from pocketrec_export.gates.inputs import whole_histories
from pocketrec_export.golden import answers as golden
from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.data.features.columns import (
    category_codes,
    numeric_columns,
    release_popularity,
)

USERS = 200
"""Users whose slates give the scores; 2,000 scores are enough for ten bins."""


def reference(draft: Bundle, data: Dataset, seed: int) -> Reference:
    """Compute the distributions of the training fold, and of slates of sampled users.

    Args:
        draft: the release with its models.
        data: the events that the release has learned from, in the training fold.
        seed: of the recipe.

    Raises:
        EngineError: a model does not load or run.
    """
    trained = data.fold == TRAIN
    item_counts = np.bincount(data.rows[trained], minlength=len(data.items))
    spec = draft.spec
    return reference_of(
        spec=spec,
        events=data.events[trained],
        item_counts=item_counts,
        categories=category_codes(spec, data.items.categories),
        numeric=numeric_columns(spec, data.items, release_popularity(spec, data)),
        scores=_scores(draft, data, seed),
        until_utc=int(data.ts[trained].max()),
    )


def _scores(draft: Bundle, data: Dataset, seed: int) -> NDArray[np.float64]:
    histories = [
        (f"user {n}", past) for n, (past, _) in enumerate(whole_histories(data, USERS, seed))
    ]
    blank = golden.blank_cases(histories, data.items.ids, int(data.ts.max()))
    return golden.slate_scores(draft, blank)
