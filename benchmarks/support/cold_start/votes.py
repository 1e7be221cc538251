"""Votes of a user's items for new items of similar content.

The item vectors must say everything with one inner product. Votes read the history item by item, in
the form of a release's item neighbours: each known item has its `PER_ITEM` most similar new items,
with int8 weights. They need no training.
"""

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.support.cold_start.split import ColdSplit
from benchmarks.support.cold_start.title_similarity import Scores
from pocketrec_bundle.declared import FittedFeatures
from pocketrec_training.cold_start.content_vectors import histories
from pocketrec_training.neighbours.content_features import ContentFeatures
from pocketrec_training.neighbours.fit import strongest

PER_ITEM = 32
WEIGHT = 0.5
"""Of votes beside the vectors' scores, chosen on earlier windows (docs/quality-cold.md)."""


def votes(case: ColdSplit, declared: FittedFeatures) -> Scores:
    """Add up the votes for all new items of each user who took one, float32 [takers, new items].

    A vote weighs the square of the similarity of both contents.
    """
    features = ContentFeatures(case.known.items, declared)
    known, new = features(case.known.items), features(case.new)
    similarity = np.asarray((known @ new.T).toarray(), np.float32)  # [n, m]
    kept = strongest(similarity**2, min(PER_ITEM, len(case.new)))
    weights = (kept.weights * kept.scales[:, None]).ravel()
    ends = np.arange(0, kept.rows.size + 1, kept.rows.shape[1])
    table = csr_matrix((weights, kept.rows.ravel(), ends), similarity.shape)
    users = case.users[case.takers]
    return np.asarray((histories(case.known, users) @ table).toarray(), np.float32)


def with_votes(scores: Scores, votes: Scores) -> Scores:
    """Add votes to scores, each brought to a spread of 1 around a user's mean."""
    return _standard(scores) + np.float32(WEIGHT) * _standard(votes)


def _standard(scores: Scores) -> Scores:
    centred = scores - scores.mean(axis=1, keepdims=True)
    return np.asarray(centred / max(float(centred.std()), 1e-12), np.float32)
