"""Train the ranker on what retrieval returns, and calibrate it on whole lists.

The ranker learns from validation events by default. The towers were not trained on them, so
retrieval's scores are as good as in use (docs/decisions/0004-ranker-examples.md).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data.dataset import TRAIN, VALID
from pocketrec_training.data.short_histories import short_histories
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.ranker.calibration import FITS, Curve, fractional
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists, Case
from pocketrec_training.ranker.cross_fit import FOLDS, CrossFit, assign_folds, folds_of
from pocketrec_training.ranker.epochs import Epochs, RankerFit, score
from pocketrec_training.ranker.gain import RankerGain, ranker_gain
from pocketrec_training.ranker.leakage import LeakCheck, check_learning_cases
from pocketrec_training.ranker.realised import list_quality, scores_of, wanted
from pocketrec_training.recipe.schema import RankerConfig, Recipe

MAX_CASES = 5_000
"""Maximum number of cases, the latest of each user first; lists of 200 then take 0.3 GB."""

SHORT = (0, 1, 2, 3, 5, 10)
"""Numbers of events of short histories, drawn alike."""

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """The shipped, calibrated ranker and how it was made.

    Attributes:
        ranker: ships; it keeps retrieval's order if `gain` says so.
        cross_fit: rankers for validation figures; None if `ranker` saw no validation list.
        first: the fit that chose the number of epochs, with its losses and why it stopped.
        gain: over retrieval's order, on lists not learned from.
        leak_check: the check before anything was trained.
        seconds: of the whole stage.
    """

    ranker: keras.Model
    cross_fit: CrossFit | None
    first: Epochs
    gain: RankerGain
    leak_check: LeakCheck
    seconds: float


def fit_ranker(
    recipe: Recipe, spec: FeatureSpec, candidates: CandidateGenerator, minutes: float
) -> FittedRanker:
    """Choose the epoch with the lowest loss on validation lists, then learn from all lists.

    The loss decides, not NDCG@10, which changes by a tenth from epoch to epoch over 200 cases.

    1. The first fit learns without one fold of users and chooses the number of epochs.
    2. For each other fold, a ranker learns without this fold for as many epochs.
    3. The shipped ranker learns from all lists for as many epochs.

    Each list is scored by the ranker that did not learn from it. These scores calibrate the shipped
    ranker, decide whether it ships, and give every validation figure. With examples = "train" the
    first ranker ships, because validation lists have another distribution.

    Args:
        recipe: what to train; `spec` and `candidates` belong to it.
        spec: features of the ranker.
        candidates: runs retrieval for past moments.
        minutes: cap of the stage (`counted_time.py`), 0 = none; it bounds the first fit, whose
            number of epochs the other fits repeat.

    Raises:
        FeatureLeakError: a feature of a sample of the cases knows the future; nothing was trained.
    """
    started = time.monotonic()
    rng = np.random.default_rng([recipe.seed, 1])
    learn, check = learning_cases(recipe, candidates)
    leak_check = check_learning_cases(candidates, learn, recipe.seed)
    fit = RankerFit(recipe.ranker, spec, candidates, rng)
    if recipe.ranker.examples == "train":
        made = _from_training_events(recipe, fit, learn, check, minutes)
    else:
        made = _cross_fitted(recipe, fit, learn, check, minutes)
    ranker, cross_fit, first, gain = made
    return FittedRanker(
        ranker=ranker,
        cross_fit=cross_fit,
        first=first,
        gain=gain,
        leak_check=leak_check,
        seconds=time.monotonic() - started,
    )


_Made = tuple[keras.Model, CrossFit | None, Epochs, RankerGain]


def _from_training_events(
    recipe: Recipe, fit: RankerFit, learn: list[Case], check: list[Case], minutes: float
) -> _Made:
    """Learn from the towers' own training events; validation lists choose the epoch."""
    lists, validation = (fit.candidates.lists_for(cases) for cases in (learn, check))
    first = fit.run(lists, validation, recipe.ranker.epochs, minutes)
    logits = score(first.logits, fit.candidates, validation)
    before = _untrained_logits(fit, lists, validation)
    gain = _gain(recipe, fit, validation, check, logits, untrained=before, learned=first.epochs > 0)
    ranker = first.ranker
    if first.epochs and not gain.ships_ranker:
        untrained = fit.run(lists, validation.take(np.arange(0)), 0, 0.0)
        ranker, logits = untrained.ranker, score(untrained.logits, fit.candidates, validation)
    calibrate(ranker, fit_curves(recipe.ranker, logits, validation, fit.candidates.objectives))
    return ranker, None, first, gain


def _cross_fitted(
    recipe: Recipe, fit: RankerFit, learn: list[Case], check: list[Case], minutes: float
) -> _Made:
    """Learn from validation events, with a ranker for each fold of users beside what ships."""
    config, candidates, ids = recipe.ranker, fit.candidates, fit.candidates.data.user_ids
    cases = learn + check
    lists = candidates.lists_for(cases)
    fold_of = assign_folds((ids[user] for user, _ in cases), recipe.seed)
    folds = folds_of(fold_of, (ids[user] for user, _ in cases))
    nothing = lists.take(np.arange(0))
    validation = lists.take(np.flatnonzero(folds == 0))
    short, short_folds = _short_lists(recipe, candidates, cases, folds)
    objectives = candidates.objectives
    has_positive = (wanted(lists, objectives) > 0).any()
    if not has_positive:  # nothing to learn
        config = replace(config, epochs=0)
    # A cap is shared by the fits that follow: as many epochs take about as long.
    fit, before = _begin(fit, lists, folds)
    first = fit.run(
        lists.take(np.flatnonzero(folds != 0)),
        validation,
        config.epochs,
        minutes / (FOLDS + 1),
        short.take(np.flatnonzero(short_folds != 0)),
    )
    fits = [first]
    if first.epochs or before is not None:
        fits += [
            fit.run(
                lists.take(np.flatnonzero(folds != fold)),
                nothing,
                first.epochs,
                0.0,
                short.take(np.flatnonzero(short_folds != fold)),
            )
            for fold in range(1, FOLDS)
        ]
    logits = np.zeros((*lists.rows.shape, len(config.heads)), np.float32)
    for fold in range(FOLDS):
        at = np.flatnonzero(folds == fold)
        logits[at] = score(fits[fold % len(fits)].logits, candidates, lists.take(at))
    untrained = _untrained_logits(fit, lists, lists) if before is None else before
    gain = _gain(
        recipe, fit, lists, cases, logits, before, untrained=untrained, learned=first.epochs > 0
    )
    if not gain.ships_ranker:
        start = fit.run(lists, nothing, 0, 0.0)
        logits = score(start.logits, candidates, lists) if before is None else before
        calibrate(start.ranker, fit_curves(config, logits, lists, objectives))
        return start.ranker, None, first, gain
    final = fit.run(lists, nothing, first.epochs, 0.0, short)
    calibrate(final.ranker, fit_curves(config, logits, lists, objectives))
    for fold, one in enumerate(fits):
        others = np.flatnonzero(folds != fold)
        curves = fit_curves(config, logits[others], lists.take(others), objectives)
        calibrate(one.ranker, curves)
    rankers = tuple(one.ranker for one in fits)
    return final.ranker, CrossFit(rankers=rankers, fold_of=fold_of), first, gain


def _short_lists(
    recipe: Recipe, candidates: CandidateGenerator, cases: list[Case], folds: NDArray[np.int64]
) -> tuple[CandidateLists, NDArray[np.int64]]:
    """Return lists of a share of the cases with short histories, and their folds."""
    rng = np.random.default_rng([recipe.seed, 2])
    n = round(recipe.ranker.short_share * len(cases))
    chosen = np.sort(rng.choice(len(cases), n, replace=False))
    data, some = short_histories(
        candidates.data, [cases[at] for at in chosen], rng.choice(SHORT, n)
    )
    return candidates.asking(data).lists_for(some), folds[chosen]


def _begin(
    fit: RankerFit, lists: CandidateLists, folds: NDArray[np.int64]
) -> tuple[RankerFit, Logits | None]:
    """Start from the blend if the recipe wants it and it beats retrieval on lists not fitted on.

    Returns:
        The fit to go on with, and the blend's scores float32 [n, m, H]; None without it.
    """
    if not fit.config.blend:
        return fit, None
    fit, nothing = replace(fit, blend=True), lists.take(np.arange(0))
    scores = np.zeros((*lists.rows.shape, len(fit.config.heads)), np.float32)
    for fold in range(FOLDS):
        at = np.flatnonzero(folds == fold)
        started = fit.run(lists.take(np.flatnonzero(folds != fold)), nothing, 0, 0.0)
        scores[at] = score(started.logits, fit.candidates, lists.take(at))
    retrieval = np.broadcast_to(-np.arange(lists.rows.shape[1], dtype=np.float64), lists.real.shape)
    objectives = fit.candidates.objectives
    blended = ndcg10(scores[..., 0].astype(np.float64), lists, objectives)
    if blended <= ndcg10(retrieval, lists, objectives):
        return replace(fit, blend=False), None
    return fit, scores


def _untrained_logits(
    fit: RankerFit, learned_from: CandidateLists, lists: CandidateLists
) -> Logits | None:
    """Return an untrained ranker's scores of lists, [n, m, H]; None without objectives.

    With objectives the order of retrieval is not that of the start: a formula may multiply the same
    probabilities by prices.
    """
    if fit.candidates.objectives is None:
        return None
    return score(
        fit.run(learned_from, lists.take(np.arange(0)), 0, 0.0).logits, fit.candidates, lists
    )


def _gain(
    recipe: Recipe,
    fit: RankerFit,
    lists: CandidateLists,
    cases: list[Case],
    logits: Logits,
    before: Logits | None = None,
    *,
    untrained: Logits | None,
    learned: bool,
) -> RankerGain:
    """Compare the order that the scores give with retrieval's, or with that of the start.

    The start is the blend (`before`), or with objectives the untrained ranker.
    """
    objectives = fit.candidates.objectives

    def final(of: Logits) -> NDArray[np.float64]:
        curves = fit_curves(recipe.ranker, of, lists, objectives)
        outputs = np.stack(
            [
                curve.probabilities(of[..., h].ravel()).reshape(lists.rows.shape)
                for h, curve in enumerate(curves)
            ],
            axis=-1,
        )
        return scores_of(fit.spec, lists, outputs, objectives)

    users = np.array([user for user, _ in cases], np.int64)
    return ranker_gain(
        final(logits),
        lists,
        users,
        recipe.seed,
        learned=learned,
        blend=None if before is None else before[..., 0].astype(np.float64),
        untrained=None if objectives is None or untrained is None else final(untrained),
        measure=partial(list_quality, fit.spec, lists=lists, objectives=objectives),
    )


def learning_cases(recipe: Recipe, candidates: CandidateGenerator) -> tuple[list[Case], list[Case]]:
    """Return the training cases of the first fit, and its validation cases."""
    valid = candidates.latest_cases(VALID, MAX_CASES)
    if recipe.ranker.examples == "train":
        return candidates.latest_cases(TRAIN, MAX_CASES), valid
    ids = candidates.data.user_ids
    fold_of = assign_folds((ids[user] for user, _ in valid), recipe.seed)
    in_validation = [fold_of[ids[user]] == 0 for user, _ in valid]
    return (
        [case for case, is_held in zip(valid, in_validation, strict=True) if not is_held],
        [case for case, is_held in zip(valid, in_validation, strict=True) if is_held],
    )


def ndcg10(
    scores: NDArray[Any], lists: CandidateLists, objectives: Objectives | None = None
) -> float:
    """Return NDCG@10 of what came next; a case that retrieval missed counts 0."""
    hits = wanted(lists, objectives)
    values = metrics.ndcg_by_list(scores, hits if objectives is None else hits > 0, lists.real)
    return float(np.mean(values)) if len(values) else 0.0


def fit_curves(
    config: RankerConfig,
    logits: Logits,
    lists: CandidateLists,
    objectives: Objectives | None = None,
) -> list[Curve]:
    """Fit a calibration curve for each head to uncalibrated scores [n, m, H] of complete lists.

    Heads of values and shares have labels between 0 and 1: a rising curve with the mean of the
    labels.
    """
    fits = [FITS[config.calibration]] * len(config.heads)
    if objectives is not None:
        fits = [
            fractional
            if head.kind != "binary" and head.calibration == "platt"
            else FITS[head.calibration]
            for head in objectives.heads
        ]
    return [
        fit(logits[..., h][lists.real], lists.labels[..., h][lists.real])
        for h, fit in enumerate(fits)
    ]


def calibrate(ranker: keras.Model, curves: Sequence[Curve]) -> None:
    """Set the ranker's calibration, one curve for each head."""
    layer = ranker.get_layer("probabilities")
    layer.scale.assign([c.scale for c in curves])
    layer.shift.assign([c.shift for c in curves])
    layer.knots.assign(np.stack([c.knots for c in curves], axis=1))
    layer.slopes.assign(np.stack([c.slopes for c in curves], axis=1))
