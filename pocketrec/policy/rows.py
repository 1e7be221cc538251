"""Rows of a replayed policy, collected request by request, and features of the reward model."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_experiments.off_policy.logged import SlatePolicy

Floats64 = NDArray[np.float64]
Longs = NDArray[np.int64]

LAST_OF_GROUP = np.array([1, 2, 3, 5, 10])
"""Last place of each group of places with a rate of its own; later places are one more group."""


class PolicyRows:
    """The rows of a `SlatePolicy`, added request by request."""

    def __init__(self) -> None:
        self._parts: list[tuple[Longs, Longs, Longs, Floats64, Floats64]] = []

    def add(
        self, request: int, places: Longs, items: Longs, probabilities: Floats64, scores: Floats64
    ) -> None:
        """Add one request: arrays of one length, scores [m, 2] or [m, 0]."""
        own = np.full(len(places), request, np.int64)
        self._parts.append((own, places, items, probabilities, scores))

    def policy(self, *, by_place: bool | None) -> SlatePolicy:
        """Return all rows; by_place: as for `place_features`, None: without features."""
        none = np.zeros(0, np.int64)
        parts = self._parts or [(none, none, none, np.zeros(0), np.zeros((0, 2)))]
        request, place, item = (np.concatenate([one[at] for one in parts]) for at in range(3))
        probability = np.concatenate([one[3] for one in parts])
        scores = np.concatenate([one[4] for one in parts])
        features = (
            np.zeros((len(request), 0))
            if by_place is None
            else place_features(place, scores, by_place=by_place)
        )
        return SlatePolicy(
            request=request, place=place, item=item, probability=probability, features=features
        )


def place_features(place: Longs, scores: Floats64, *, by_place: bool) -> Floats64:
    """Return features of the reward model, float64 [n, d].

    Args:
        place: int64 [n], from 1.
        scores: float64 [n, 2]: the target's score of the item, and 1 if it is a candidate.
        by_place: a rate for each group of places, and score and candidacy by 1 / log2(1 + place);
            else 1, score and candidacy, for a model that multiplies with examination.
    """
    if not by_place:
        return np.concatenate([np.ones((len(place), 1)), scores], axis=1)
    group = np.eye(len(LAST_OF_GROUP) + 1)[np.searchsorted(LAST_OF_GROUP, place)]
    return np.concatenate([group, scores / np.log2(1.0 + place)[:, None]], axis=1)
