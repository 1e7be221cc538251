"""Retrieval's score blended with a handful of signals that a phone has at hand.

A linear softmax over all items: the inner product of the two towers, the item's recent popularity
(an item column) and what the user's own log says of the item (how often, how long ago). Eight
weights, fitted on validation cases: what a ranker with the same inputs has to beat, and where
people buy the same things again most of the way there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.baselines.counts import popularity
from training.baselines.scorer import baskets
from training.cases import Cases
from training.dataset import Dataset
from training.placement import BLOCK, BlockScorer

Floats = NDArray[np.float32]

SIGNALS = (
    "two_tower",
    "log_popularity",
    "log_popularity_30_days",
    "log_popularity_7_days",
    "known",
    "log_baskets",
    "log_weeks_since",
    "log_recent_baskets",
)
HALF_LIVES = (0.0, 30.0, 7.0)
OWN_HALF_LIFE_DAYS = 60.0
WEEK_S, DAY_S = 604_800.0, 86_400.0
_PRIOR = 0.3
"""Events that an item without any counts as, so that its logarithm is finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Fitted weights, float64 [signals] in the order of SIGNALS; loss before and after the fit."""

    weights: NDArray[np.float64]
    loss_before: float
    loss: float


class Signals:
    """Computes the signals of all items for a user at a moment."""

    def __init__(self, data: Dataset, two_tower: BlockScorer) -> None:
        self.data, self.two_tower = data, two_tower
        counts = [popularity(data, half_life)(0, data.history(0, 0)) for half_life in HALF_LIVES]
        self.popular = np.stack(
            [np.log((c + _PRIOR) / (c.mean() + _PRIOR)) for c in counts], axis=1
        ).astype(np.float32)  # [n_items, 3]

    def of(self, block: list[tuple[int, int]]) -> Floats:
        """Return float32 [n, n_items, signals]."""
        scores = np.asarray(self.two_tower(block), np.float32)
        out = np.zeros((*scores.shape, len(SIGNALS)), np.float32)
        out[..., 0] = scores
        out[..., 1:4] = self.popular
        for line, (user, end) in zip(out, block, strict=True):
            now = int(self.data.ts[self.data.offsets[user] + end])
            rows, own = own_signals(self.data, user, end, now)
            line[rows, 4:] = own
        return out


def own_signals(
    data: Dataset, user: int, end: int, now_utc: int
) -> tuple[NDArray[np.int32], Floats]:
    """Return the distinct rows of a history and what it says of each, float32 [rows, 4].

    known = 1; log of the baskets with it; log(1 + weeks since the last); log of the baskets
    with it, each halved every 60 days.
    """
    past = data.history(user, end)
    found = baskets(past)
    if not found:
        return np.zeros(0, np.int32), np.zeros((0, 4), np.float32)
    times = np.unique(past.ts)
    rows, at = np.unique(np.concatenate(found), return_inverse=True)
    ages = np.repeat(np.maximum(now_utc - times, 0), [len(b) for b in found])
    count = np.bincount(at)
    recent = np.bincount(at, 0.5 ** (ages / DAY_S / OWN_HALF_LIFE_DAYS))
    least = np.full(len(rows), np.inf)
    np.minimum.at(least, at, ages)
    own = (np.ones(len(rows)), np.log(count), np.log1p(least / WEEK_S), np.log(recent + 0.05))
    return rows.astype(np.int32), np.stack(own, axis=1).astype(np.float32)


def fit(signals: Signals, cases: Cases) -> Blend:
    """Fit the weights on validation cases: cross-entropy between scores and the held-out sets.

    Items that the setting leaves out take no part. Memory: cases x items x 8 numbers.
    """
    parts = [signals.of(cases.pairs[at : at + BLOCK]) for at in range(0, len(cases), BLOCK)]
    table = np.concatenate(parts)  # [n, n_items, signals]
    target = np.zeros(table.shape[:2], np.float32)
    for i in range(len(cases)):
        target[i, cases.targets_of(i)] = 1.0 / len(cases.targets_of(i))
    shut = table[..., 4] > 0 if cases.setting == "new_to_user" else np.zeros(target.shape, bool)
    wanted = np.einsum("in,inf->f", target, table, dtype=np.float64) / len(cases)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = table @ weights.astype(np.float32)
        scores[shut] = -np.inf
        top = scores.max(1, keepdims=True)
        raised = np.exp(scores - top)
        total = raised.sum(1, keepdims=True)
        value = float((np.log(total) + top).mean() - wanted @ weights)
        mean = np.einsum("in,inf->f", raised / total, table, dtype=np.float64) / len(cases)
        return value, mean - wanted

    start = np.zeros(len(SIGNALS))
    start[0] = 1.0
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return Blend(weights=found.x, loss_before=loss(start)[0], loss=float(found.fun))


def scorer(signals: Signals, blend: Blend) -> BlockScorer:
    """Score all items by the weighted sum."""
    weights = blend.weights.astype(np.float32)
    return lambda block: signals.of(block) @ weights
