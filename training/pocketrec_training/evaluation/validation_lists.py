"""Lists of validation cases, scored by rankers that did not learn from the user.

Thresholds are chosen on them, and features are shuffled in them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import VALID
from pocketrec_training.evaluation.question import Question
from pocketrec_training.metrics.classification import best_threshold
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists, Case
from pocketrec_training.ranker.cross_fit import CrossFit, assign_folds
from pocketrec_training.ranker.epochs import score

MOST_LISTS = 500
"""One list a user, drawn by the seed if there are more; they take about 2.5 s on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationLists:
    """Scored lists of the evaluation fit.

    Attributes:
        candidates: made the lists.
        lists: one for each user.
        folds: int64 [n], fold of each user; the ranker of this fold did not learn from the user.
        probabilities: float32 [n, m, H].
        told: which lists and which ranker these are, to go on in a sentence.
    """

    candidates: CandidateGenerator
    lists: CandidateLists
    folds: NDArray[np.int64]
    probabilities: Floats32
    told: str

    def thresholds(self, without: int | None = None) -> list[float | None]:
        """Return the threshold with the highest F1 for each head; None without a positive.

        Args:
            without: fold whose users are asked about and so must not choose; None: all choose.
        """
        kept = np.flatnonzero(self.folds != (-1 if without is None else without))
        real = self.lists.real[kept]
        labels, found = self.lists.labels[kept][real], self.probabilities[kept][real]  # [k, H]
        return [best_threshold(labels[:, h] > 0, found[:, h]) for h in range(labels.shape[1])]


def validation_lists(question: Question) -> ValidationLists:
    """Retrieve and score the lists of the first validation event of each user."""
    trained, cross_fit = question.trained, question.cross_fit
    cases = drawn_cases(question.data.held_out(VALID), MOST_LISTS, question.seed)
    candidates = trained.candidates(question.data)
    lists = candidates.lists_for(cases)
    scored_by = (
        "the ranker that ships" if cross_fit is None else "rankers that did not learn from the user"
    )
    return ValidationLists(
        candidates=candidates,
        lists=lists,
        folds=folds(question, cases),
        probabilities=probabilities(question, candidates, cases, lists, cross_fit),
        told=f"{len(cases):,} validation lists, one a user, scored by {scored_by}",
    )


def drawn_cases(cases: list[Case], most: int, seed: int) -> list[Case]:
    """Draw at most `most` of the cases, in their old order."""
    if len(cases) <= most:
        return cases
    drawn = np.random.default_rng([seed, 9]).choice(len(cases), most, replace=False)
    return [cases[at] for at in np.sort(drawn)]


def folds(question: Question, cases: list[Case]) -> NDArray[np.int64]:
    """Return the fold of each case's user, int64 [n]: of the cross-fit, or dealt alike without."""
    ids = [question.data.user_ids[user] for user, _ in cases]
    if question.cross_fit is not None:
        return np.array([question.cross_fit.fold(name) for name in ids], np.int64)
    dealt = assign_folds(ids, question.seed)
    return np.array([dealt[name] for name in ids], np.int64)


def probabilities(
    question: Question,
    candidates: CandidateGenerator,
    cases: list[Case],
    lists: CandidateLists,
    cross_fit: CrossFit | None,
) -> Floats32:
    """Return the heads' probabilities of each candidate, float32 [n, m, H].

    Args:
        question: has the ranker that ships.
        candidates: made the lists.
        cases: of the lists.
        lists: to score.
        cross_fit: for validation cases, so that no ranker meets a user it learned from.
    """
    if cross_fit is None:
        return score(question.trained.ranker, candidates, lists)
    found = np.zeros((*lists.rows.shape, len(question.trained.spec.heads)), np.float32)
    of_case = folds(question, cases)
    for fold, ranker in enumerate(cross_fit.rankers):
        at = np.flatnonzero(of_case == fold)
        found[at] = score(ranker, candidates, lists.take(at))
    return found
