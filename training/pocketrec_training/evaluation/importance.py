"""Permutation importance of the ranker's features: what is lost when one tells nothing.

A feature is shuffled over cases (or over all places, for one of user and item), and the loss of AUC
and NDCG@10 counted (Breiman 2001, section 10). Features that say the same share their importance.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.ranker.candidate_lists import (
    CandidateGenerator,
    CandidateLists,
    feature_names,
)
from pocketrec_training.ranker.epochs import score
from pocketrec_training.ranker.fit import ndcg10


def feature_importance(
    ranker: keras.Model, candidates: CandidateGenerator, lists: CandidateLists, seed: int
) -> list[dict[str, Any]]:
    """Return feature, auc_loss and ndcg10_loss, the most important by AUC first."""
    whole = _quality(ranker, candidates, lists)
    found = []
    for name in feature_names(candidates.spec):
        rng = np.random.default_rng([seed, 5])  # the same shuffle for each, so losses compare
        auc, ndcg = _quality(ranker, candidates, shuffled(candidates, lists, name, rng))
        found.append({"feature": name, "auc_loss": whole[0] - auc, "ndcg10_loss": whole[1] - ndcg})
    return sorted(found, key=lambda one: -one["auc_loss"])


def shuffled(
    candidates: CandidateGenerator, lists: CandidateLists, name: str, rng: np.random.Generator
) -> CandidateLists:
    """Return the slates with one feature shuffled; "rows" is the items' vectors and categories."""
    group, _, column = name.partition(".")
    values = getattr(lists, group).copy()
    part = values if not column else values[..., getattr(candidates.spec, group).index(column)]
    if part.ndim > 1 and group != "user_vector":
        flat = part[lists.real]
        part[lists.real] = flat[rng.permutation(len(flat))]
    else:
        part[:] = part[rng.permutation(len(part))]
    return replace(lists, **{group: values})


def _quality(
    ranker: keras.Model, candidates: CandidateGenerator, lists: CandidateLists
) -> tuple[float, float]:
    found = score(ranker, candidates, lists)
    labels = lists.labels[..., 0][lists.real]
    auc = metrics.roc_auc(labels, found[..., 0][lists.real])
    return auc, ndcg10(found @ np.array(candidates.spec.head_weights), lists)
