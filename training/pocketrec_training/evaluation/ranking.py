"""Quality of the ranker's probabilities on the lists that retrieval offers."""

from typing import Any

import numpy as np

from pocketrec_training.evaluation.question import Question
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.epochs import score

MOST_CASES = 5_000
"""Half a million candidates: enough for any of the figures, and 20 s on one core."""


def ranking_figures(question: Question, candidates: CandidateGenerator) -> dict[str, Any]:
    """Return, for each head, classification metrics over the candidates of one case a user.

    At most `MOST_CASES` cases, drawn by the seed. Heads without both outcomes are left out.
    """
    trained, cross_fit = question.trained, question.unseen
    cases = _cases(question)
    lists = candidates.lists_for(cases)
    if cross_fit is None:
        probabilities = score(trained.ranker, candidates, lists)
    else:
        probabilities = np.zeros((*lists.rows.shape, len(trained.spec.heads)), np.float32)
        ids = candidates.data.user_ids
        folds = np.array([cross_fit.fold(ids[user]) for user, _ in cases])
        for fold, ranker in enumerate(cross_fit.rankers):
            at = np.flatnonzero(folds == fold)
            probabilities[at] = score(ranker, candidates, lists.take(at))
    found: dict[str, Any] = {}
    for h, head in enumerate(trained.spec.heads):
        labels, values = lists.labels[..., h][lists.real], probabilities[..., h][lists.real]
        if not 0 < labels.sum() < len(labels):
            continue  # one class only: nothing to tell apart
        found[head] = {
            "cases": len(labels),
            "positive_share": float(labels.mean()),
            "roc_auc": metrics.roc_auc(labels, values),
            "pr_auc": metrics.pr_auc(labels, values),
            "f1": metrics.f1(labels, values),
            "log_loss": metrics.log_loss(labels, values),
            "ece": metrics.ece(labels, values),
            "calibration": metrics.calibration(labels, values),
            "reliability": metrics.reliability(labels, values),
        }
    return found


def _cases(question: Question) -> list[tuple[int, int]]:
    """Return each user's first held-out event, of the users who are asked; at most `MOST_CASES`."""
    cases = question.data.held_out(question.fold)
    if question.users < question.of_users:
        asked = {int(user) for setting in question.settings for user in setting.users}
        cases = [case for case in cases if case[0] in asked]
    if len(cases) <= MOST_CASES:
        return cases
    drawn = np.random.default_rng([question.seed, 9]).choice(len(cases), MOST_CASES, replace=False)
    return [cases[at] for at in np.sort(drawn)]
