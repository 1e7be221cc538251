"""Quality of the ranker's probabilities, head by head, on the lists that retrieval offers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import VALID
from pocketrec_training.evaluation import validation_lists as held
from pocketrec_training.evaluation.question import Question
from pocketrec_training.evaluation.validation_lists import ValidationLists
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.classification import Judged, classification
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists, Case

MOST_CASES = 5_000
"""A million candidates: enough for any of the figures, and 20 s on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLists:
    """Lists of the cases that are asked about; outputs: float32 [n, m, H], the heads'."""

    cases: list[Case]
    lists: CandidateLists
    outputs: Floats32


def asked_lists(question: Question, candidates: CandidateGenerator) -> AskedLists:
    """Retrieve and score the list of one case a user, of at most `MOST_CASES` users."""
    cases = _cases(question)
    lists = candidates.lists_for(cases)
    outputs = held.probabilities(question, candidates, cases, lists, question.unseen)
    return AskedLists(cases=cases, lists=lists, outputs=outputs)


def ranking_figures(
    question: Question,
    candidates: CandidateGenerator,
    validation: ValidationLists,
    asked: AskedLists | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return classification metrics of each binary head, and why a head has none.

    Candidates are those of one case a user, of at most `MOST_CASES` users, drawn by the seed.

    Args:
        question: what is asked.
        candidates: retrieval of the fit that answers.
        validation: lists on which each head's threshold was chosen. Users of a fold that are
            asked about themselves get the threshold of the other folds.
        asked: the lists, if they are made already.
    """
    asked = asked or asked_lists(question, candidates)
    cases, lists, found = asked.cases, asked.lists, asked.outputs
    objectives = candidates.objectives
    limits = _limits(question, cases, validation)
    figures: dict[str, Any] = {}
    left_out = []
    for h, head in enumerate(question.trained.spec.heads):
        if objectives is not None and objectives.heads[h].kind != "binary":
            continue
        taken = lists.labels[..., h][lists.real] > 0
        if taken.all() or not taken.any():
            left_out.append(
                f"head {head} is not measured: {'each' if taken.any() else 'none'} of its "
                f"{len(taken):,} candidates in {len(lists):,} lists is positive"
            )
            continue
        labels = lists.labels[..., h]
        figures[head] = _figures(labels, found[..., h], lists, limits[:, h], question.seed)
        if figures[head]["f1"] is None:
            left_out.append(
                f"head {head} has no F1: no validation candidate is positive, so no threshold "
                "could be chosen"
            )
    return figures, left_out


def _limits(question: Question, cases: list[Case], validation: ValidationLists) -> Floats32:
    """Return the thresholds of each case, float32 [n, H]; nan where there is none."""
    if question.fold != VALID:
        return np.tile(np.array(validation.thresholds(), np.float32), (len(cases), 1))
    of_case = held.folds(question, cases)
    table = {fold: validation.thresholds(without=fold) for fold in np.unique(of_case).tolist()}
    return np.array([table[fold] for fold in of_case.tolist()], np.float32)


def _figures(
    labels: Floats32, probabilities: Floats32, lists: CandidateLists, limits: Floats32, seed: int
) -> dict[str, Any]:
    """Return the figures of one head.

    Args:
        labels: of the head, float32 [n, m].
        probabilities: of the head, float32 [n, m].
        lists: which of their places have an item.
        limits: threshold of each list, float32 [n]; nan: none.
        seed: of the intervals.
    """
    real, owners = lists.real, np.nonzero(lists.real)[0]
    taken, values = labels[real] > 0, probabilities[real]
    judged = Judged(
        taken=taken,
        probabilities=values,
        chosen=None if np.isnan(limits).any() else values >= limits[owners],
        owners=owners,
        n=len(labels),
    )
    found = classification(judged, seed)
    return {
        "lists": len(labels),
        "cases": len(taken),
        "positives": int(taken.sum()),
        "positive_share": float(taken.mean()),
        "f1": None,
        **{name: each["value"] for name, each in found.items()},
        "intervals": {
            name: {"low": each["low"], "high": each["high"]} for name, each in found.items()
        },
        "threshold": None if judged.chosen is None else float(np.median(limits)),
        "ece": metrics.ece(taken, values),
        "calibration": metrics.calibration(taken, values),
        "reliability": metrics.reliability(taken, values),
    }


def _cases(question: Question) -> list[Case]:
    """Return each user's first held-out event, of the users who are asked; at most `MOST_CASES`."""
    cases = question.data.held_out(question.fold)
    if question.users < question.of_users:
        asked = {int(user) for setting in question.settings for user in setting.users}
        cases = [case for case in cases if case[0] in asked]
    return held.drawn_cases(cases, MOST_CASES, question.seed)
