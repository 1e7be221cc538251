"""Score a cut with trained towers, with the vectors that a phone would get, and measure it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.cold_start.split import ColdSplit
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_training.cold_start.content_vectors import ContentVectors
from pocketrec_training.cold_start.score_calibration import (
    SAMPLE,
    arrival_ratio,
    expected_share,
    lift_in_company,
)

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """New items among all: shares of first places that they take, 0..1, and what slates catch.

    share: of slates; actual: of the first touches after the cut; expected: foreseen from the past;
    recall_new, recall_known: share of a user's new (known) items that the slate holds, by user.
    """

    share: float
    actual: float
    expected: float
    recall_new: Values
    recall_known: Values


def as_stored(vectors: Floats32) -> Floats32:
    """Round to int8 rows and back, as the phone's item matrix does."""
    rows, scales = quantize_rows(vectors)
    return rows.astype(np.float32) * scales[:, None]


def lifted(
    case: ColdSplit,
    made: ContentVectors,
    users: Floats32,
    known: Floats32,
    new: Floats32,
    seed: int,
) -> Floats32:
    """Lift new items to the share that the past lets expect; looks at no event after the cut."""
    n = min(SAMPLE, len(users))
    chosen = np.random.default_rng(seed).choice(len(users), n, replace=False)
    seen = [case.known.history(int(user)).rows for user in case.users[chosen]]
    return lift_in_company(made, new, case.known, known, users[chosen], seen)


def expected(case: ColdSplit) -> float:
    """Share of first touches that new items should get, from the events before the cut alone."""
    return expected_share(arrival_ratio(case.known), len(case.new), len(case.known.items))


def recall_at(scores: Floats32, wanted: Sequence[NDArray[np.int32]], k: int) -> Values:
    """Share of each row's wanted columns among its k best, float64 [rows]."""
    k = min(k, scores.shape[1])
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.array(
        [np.isin(rows, best).mean() for rows, best in zip(wanted, top, strict=True)], np.float64
    )


def mixed(case: ColdSplit, users: Floats32, known: Floats32, new: Floats32, k: int) -> Mixed:
    """Rank new and known items together, those of the user's history left out; the best k count."""
    scores = np.concatenate([users @ known.T, users @ new.T], axis=1)
    for row, user in zip(scores, case.users, strict=True):
        row[case.known.history(int(user)).rows] = -np.inf
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    n_known = len(known)

    def caught(taken: Sequence[NDArray[np.int32]], first: int) -> Values:
        pairs = [(rows + first, best) for rows, best in zip(taken, top, strict=True) if len(rows)]
        return np.array([np.isin(rows, best).mean() for rows, best in pairs], np.float64)

    return Mixed(
        share=float((top >= n_known).mean()),
        actual=case.new_share,
        expected=expected(case),
        recall_new=caught(case.new_taken, n_known),
        recall_known=caught(case.known_taken, 0),
    )
