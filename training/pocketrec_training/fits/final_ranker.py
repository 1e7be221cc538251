"""Fit the ranker that ships on all held-out lists, by towers that saw none of their events.

Columns computed from the events of a list would know its answer. So the lists are those of the
evaluation fit, whose towers, neighbours and popularity are of the training fold alone.
"""

import time
from dataclasses import dataclass

import keras
import numpy as np

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset
from pocketrec_training.fits.report import TrainReport
from pocketrec_training.ranker.candidate_lists import Case
from pocketrec_training.ranker.cross_fit import CrossFit
from pocketrec_training.ranker.epochs import RankerFit, score
from pocketrec_training.ranker.fit import MAX_CASES, calibrate, fit_curves
from pocketrec_training.trained import TrainedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRanker:
    """A calibrated ranker; lists: how many it learned from, 0 if the evaluation fit's ships."""

    ranker: keras.Model
    lists: int
    seconds: float


def fit_final_ranker(
    evaluation: TrainedRun, data: Dataset, cross_fit: CrossFit | None, report: TrainReport
) -> FinalRanker:
    """Learn from validation and test lists of the evaluation fit.

    Without cross-fitted rankers the evaluation fit's ranker is kept: it helps nobody, or the recipe
    has `ranker.examples = "train"`.

    Args:
        evaluation: makes the lists.
        data: sequences with the folds of the evaluation fit.
        cross_fit: give the scores that calibrate the ranker; each user's are by a ranker that did
            not learn from his lists.
        report: of the evaluation fit, which chose the number of epochs and whether to start from
            the blend.
    """
    started, recipe = time.monotonic(), evaluation.recipe
    candidates = evaluation.candidates(data)
    cases = final_cases(
        data, candidates.latest_cases(TEST, MAX_CASES), candidates.latest_cases(VALID, MAX_CASES)
    )
    if cross_fit is None or not cases:
        return FinalRanker(ranker=evaluation.ranker, lists=0, seconds=0.0)
    lists = candidates.lists_for(cases)
    rng = np.random.default_rng([recipe.seed, 9])
    blend = report.ranker_gain.blend is not None
    fit = RankerFit(recipe.ranker, evaluation.spec, candidates, rng, blend=blend)
    made = fit.run(lists, lists.take(np.arange(0)), report.ranker_epochs, 0.0)
    folds = np.array([cross_fit.fold(data.user_ids[user]) for user, _ in cases])
    logits = np.zeros((*lists.rows.shape, len(recipe.ranker.heads)), np.float32)
    for fold, ranker in enumerate(cross_fit.rankers):
        at = np.flatnonzero(folds == fold)
        model = keras.Model(ranker.inputs, ranker.get_layer("logits").output)
        logits[at] = score(model, candidates, lists.take(at))
    calibrate(made.ranker, fit_curves(recipe.ranker, logits, lists, evaluation.objectives))
    return FinalRanker(ranker=made.ranker, lists=len(lists), seconds=time.monotonic() - started)


def final_cases(data: Dataset, test: list[Case], valid: list[Case]) -> list[Case]:
    """Choose at most `MAX_CASES`, half of each fold if both have enough."""
    half = max(MAX_CASES // 2, MAX_CASES - len(valid))
    chosen = test[:half]
    cases = chosen + valid[: MAX_CASES - len(chosen)]
    assert all(data.fold[data.offsets[user] + end] != TRAIN for user, end in cases)
    return cases
