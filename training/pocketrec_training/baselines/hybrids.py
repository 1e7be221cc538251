"""Hybrids: the best simple methods of different kinds, added with weights."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.scorer import Asked, Build, Scorer
from pocketrec_training.data.dataset import Dataset


def ease_popularity(data: Dataset, ease: Scorer) -> Build:
    """EASE plus `popular` times the logarithm of popularity, both scaled (see `scaled`).

    Parameters: popular; half_life_days, of the popularity, 0 = none.
    """
    recent = _log_popularity(data)

    def build(popular: float = 0.3, half_life_days: float = 30.0) -> Scorer:
        common = popular * recent(half_life_days)

        def score(asked: Asked) -> Floats32:
            return np.asarray(scaled(ease(asked)) + common, np.float32)

        return score

    return build


def ease_tifu_popularity(data: Dataset, ease: Scorer, tifu: Scorer) -> Build:
    """EASE plus `habit` times TIFU-kNN plus `popular` times the logarithm of popularity, scaled.

    Parameters: habit; popular; half_life_days, of the popularity, 0 = none.
    """
    recent = _log_popularity(data)

    def build(habit: float = 1.0, popular: float = 0.1, half_life_days: float = 30.0) -> Scorer:
        common = popular * recent(half_life_days)

        def score(asked: Asked) -> Floats32:
            mixed = scaled(ease(asked)) + habit * scaled(tifu(asked)) + common
            return np.asarray(mixed, np.float32)

        return score

    return build


def scaled(scores: Floats32) -> Floats32:
    """Divide each row by its largest absolute score, so that a weight suits short histories too.

    A row of zeros (an empty history) stays as it is.
    """
    largest = np.abs(scores).max(axis=1, keepdims=True)
    return np.asarray(scores / np.where(largest > 0, largest, 1), np.float32)


def _log_popularity(data: Dataset) -> Callable[[float], Floats32]:
    @lru_cache
    def of(half_life_days: float) -> Floats32:
        """Return log(1 + popularity) over its maximum, float32 [n_items]."""
        found: Floats32 = np.log1p(data.popularity(half_life_days))
        return np.asarray(found / max(float(found.max()), 1e-9), np.float32)

    return of
