"""Train the ranker on what retrieval returns, and calibrate it on whole lists.

Learns from validation events by default: the towers never trained on them, so retrieval's scores
are as good as they will be in use, not better (docs/decisions/0004-ranker-examples.md).
"""

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bundle.features import FeatureSpec
from training import metrics
from training.calibration import FITS
from training.dataset import TRAIN, VALID
from training.leakage import LeakCheck, check_learning_cases
from training.ranker_epochs import RankerFit, score
from training.recipe import RankerConfig, Recipe
from training.slates import Candidates, Case, Slates

MAX_CASES = 5_000
"""Moments to learn from, the latest of each user first: lists of 200 fill 0.3 GB by then."""

HELD_BACK = 5
"""With examples = "valid", every fifth case chooses the epoch and sets the calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """The calibrated ranker, its loss an epoch, the check before it, and the seconds it took."""

    ranker: keras.Model
    losses: list[float]
    leak_check: LeakCheck
    seconds: float


def fit_ranker(
    recipe: Recipe, spec: FeatureSpec, candidates: Candidates, minutes: float
) -> FittedRanker:
    """Choose the epoch with the least loss on lists held back, then learn from those too.

    Least loss, not best NDCG@10: over 200 cases that moves by a tenth from epoch to epoch. What
    ships is fitted again on all lists for as many epochs; its calibration is that of the first
    ranker on the lists held back, the only ones with scores of a ranker that did not learn from
    them. With examples = "train" the first ranker ships: validation lists are another kind.

    Raises:
        FeatureLeak: a feature of a sample of the cases knows the future; nothing was trained.
    """
    config, started = recipe.ranker, time.monotonic()
    rng = np.random.default_rng([recipe.seed, 1])
    learn, check = learning_cases(recipe, candidates)
    leak_check = check_learning_cases(candidates, learn, recipe.seed)
    lists = candidates.slates(learn + check)
    chosen, back = (lists.take(at) for at in np.split(np.arange(len(lists)), [len(learn)]))
    again = config.examples == "valid" and len(back) > 0
    fit = RankerFit(config, spec, candidates, rng)
    share = 0.4 if again else 1.0
    first = fit.run(chosen, back, config.epochs, minutes * share)
    final = first
    if again and first.epochs:
        left = minutes - (time.monotonic() - started) / 60
        second = fit.run(lists, back.take(np.arange(0)), first.epochs, left)
        final = second if second.epochs == first.epochs else first  # the time was over
    calibrate(final.ranker, config, score(first.logits, candidates, back), back)
    return FittedRanker(
        ranker=final.ranker,
        losses=first.losses,
        leak_check=leak_check,
        seconds=time.monotonic() - started,
    )


def learning_cases(recipe: Recipe, candidates: Candidates) -> tuple[list[Case], list[Case]]:
    """Return the cases to learn from, and others to choose the epoch and calibrate by."""
    valid = candidates.occasions(VALID, MAX_CASES)
    if recipe.ranker.examples == "train":
        return candidates.occasions(TRAIN, MAX_CASES), valid
    # By user: two occasions of one person are no independent evidence.
    users = np.random.default_rng([recipe.seed, 6]).permutation(candidates.data.n_users)
    back = set(users[::HELD_BACK].tolist())
    return [c for c in valid if c[0] not in back], [c for c in valid if c[0] in back]


def ndcg10(scores: NDArray[Any], slates: Slates) -> float:
    """NDCG@10 of the first head's labels over lists; a case that retrieval missed counts 0."""
    found = metrics.ndcg_by_list(scores, slates.labels[:, :, 0], slates.real)
    return float(np.mean(found)) if len(found) else 0.0


def calibrate(
    ranker: keras.Model, config: RankerConfig, logits: NDArray[np.float32], slates: Slates
) -> None:
    """Set the ranker's calibration from uncalibrated scores [n, m, H] of whole lists."""
    layer = ranker.get_layer("probabilities")
    curves = [
        FITS[config.calibration](logits[..., h][slates.real], slates.labels[..., h][slates.real])
        for h in range(len(config.heads))
    ]
    layer.scale.assign([c.scale for c in curves])
    layer.shift.assign([c.shift for c in curves])
    layer.knots.assign(np.stack([c.knots for c in curves], axis=1))
    layer.slopes.assign(np.stack([c.slopes for c in curves], axis=1))
