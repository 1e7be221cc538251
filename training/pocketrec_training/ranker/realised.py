"""What candidates of a list were worth: the final score with outcomes in place of predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.objectives import Objectives, final_scores
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.ranker.candidate_lists import CandidateLists


def wanted(lists: CandidateLists, objectives: Objectives | None) -> NDArray[Any]:
    """Return labels [n, m] above 0 for what came next: of the first head, or of any objective."""
    return lists.labels[:, :, 0] if objectives is None else lists.labels.max(axis=2)


def realised(
    spec: FeatureSpec, lists: CandidateLists, objectives: Objectives | None
) -> NDArray[Any]:
    """Return the gain of each candidate, float [n, m], 0 or more.

    Without objectives it is the first head's label, as before format 3.
    """
    if objectives is None:
        return lists.labels[:, :, 0]
    return np.maximum(scores_of(spec, lists, lists.labels, objectives), 0.0) * lists.real


def list_quality(
    spec: FeatureSpec,
    scores: NDArray[Any],
    lists: CandidateLists,
    objectives: Objectives | None,
    k: int = 10,
) -> Floats64:
    """Return the quality of the order of each list, float64 [n].

    Without objectives: NDCG@k. With objectives: DCG@k of what the candidates were worth, divided by
    the mean of the best orders of all lists. A division by the best order of the same list would
    remove the value of a list's only outcome, and values would not count at all.
    """
    gains = realised(spec, lists, objectives)
    if objectives is None:
        return metrics.ndcg_by_list(scores, gains, lists.real, k)
    found, best = (metrics.gain_by_list(order, gains, lists.real, k) for order in (scores, gains))
    return found / (best.mean() or 1.0) if len(best) else found


def scores_of(
    spec: FeatureSpec,
    lists: CandidateLists,
    outputs: NDArray[Any],
    objectives: Objectives | None,
) -> Floats64:
    """Return the final scores of lists, float64 [n, m], of the heads' outputs [n, m, H]."""
    if objectives is None:
        found: Floats64 = outputs @ np.array(spec.head_weights)
        return found
    n, m, heads = outputs.shape
    scored = final_scores(
        spec,
        objectives,
        outputs.reshape(n * m, heads).astype(np.float32),
        lists.numeric.reshape(n * m, -1),
    )
    return scored.scores.reshape(n, m).astype(np.float64)
