"""What a release shows in one request over all of its draws, for off-policy evaluation."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query, RankedCandidates
from pocketrec_edge.recommend.slate import Slate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryPolicy:
    """Each item that a place of the slate may hold, and the candidates it was chosen from.

    Attributes:
        rows: int32 [m], rows of the release.
        places: int64 [m], from 1.
        probabilities: float64 [m], above 0; those of one place sum to 1.
        candidates: int32 [n], rows.
        scores: float32 [n], final scores of the candidates.
    """

    rows: NDArray[np.int32]
    places: NDArray[np.int64]
    probabilities: Floats64
    candidates: NDArray[np.int32]
    scores: Floats32


def query_policy(
    device: Recommender, query: Query, slate: Slate | None = None
) -> QueryPolicy | None:
    """Return the probability of each item at each place; None if the models do not answer.

    Args:
        device: the release.
        query: the request, with overrides if any; its `rng` is not used.
        slate: the release's answer to the same request with the same weights of heads but its own
            rules, if the caller has it; the models then do not run again.
    """
    query = replace(query, rng=None)
    if slate is None:
        slate = device.recommend(query)
    if slate.source != "model":
        return None
    rows, scores, rules = slate.candidates, slate.scores, device.rules_of(query)
    if rules is None:
        chosen = np.array([item.row for item in slate.items], np.int32)
        return QueryPolicy(
            rows=chosen,
            places=np.arange(1, len(chosen) + 1),
            probabilities=np.ones(len(chosen)),
            candidates=rows,
            scores=scores,
        )
    ranked = RankedCandidates.by_retrieval(rows, device.index.vectors(rows), scores)
    found = device.rule_probabilities(query, ranked, rules)
    return QueryPolicy(
        rows=rows[found.positions],
        places=found.places,
        probabilities=found.probabilities,
        candidates=rows,
        scores=scores,
    )
