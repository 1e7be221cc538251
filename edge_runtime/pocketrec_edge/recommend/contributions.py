"""Contributions: an item's score minus its score without one event of the history.

Leave-one-out, as Cook 1977 does with the observations of a regression: the models run again without
the event, on the same candidates. That takes the user tower and the ranker once for each of the
last `max_history` events, about as long as so many slates, so it is for explanations only.
"""

from dataclasses import dataclass, replace

import numpy as np

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History, Ints
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.products import inner
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One event of the history, and what an item's scores owe to it.

    retrieval, final: of the inner product with the user vector and of the ranker's score; final is
    None if no ranker ran or the item is not a candidate. cosine: of the two items' vectors.
    """

    item_id: str
    title: str
    event: str
    ts: int
    retrieval: float
    final: float | None
    cosine: float


def largest(contributions: tuple[Contribution, ...]) -> Contribution | None:
    """Return the event that raised the item most; None if no event raised it."""

    def weight(each: Contribution) -> float:
        return each.retrieval if each.final is None else each.final

    best = max(contributions, key=weight, default=None)
    return best if best is not None and weight(best) > 0 else None


@dataclass(frozen=True, slots=True)
class Without:
    """How things stand without each of the last `max_history` events, oldest first.

    users: float32 [events, d], user vectors; final: float32 [events, n], the candidates' final
    scores, None if no ranker runs.
    """

    users: Floats32
    final: Floats32 | None


def without_each(device: Recommender, query: Query, candidates: Ints, vectors: Floats32) -> Without:
    """Answer again without each of the last `max_history` events.

    The event is left out of the whole log: where that is longer, an older event comes into the
    user tower in its place, and the ranker counts one event less. Events that stand for interests
    stay, and have no contribution.

    Args:
        device: with its models.
        query: with all events.
        candidates: int32 [n], of the request.
        vectors: float32 [n, d] of `candidates`.

    Raises:
        EngineError: the user tower fails.
    """
    history = query.history
    events = range(len(history.interests), len(history))[-device.spec.max_history :]
    users = np.zeros((len(events), device.spec.dim), np.float32)
    final: Floats32 | None = np.zeros((len(events), len(candidates)), np.float32)
    for at, event in enumerate(events):
        kept = np.arange(len(history)) != event
        left = History(
            history.rows[kept], history.events[kept], history.ts[kept], history.interests
        )
        without = replace(query, history=left)
        users[at] = device.user_vector(without)
        if final is not None and len(candidates):
            order = np.lexsort((candidates, -inner(vectors, users[at])))  # the ranker reads places
            try:
                inputs = device.ranker_inputs(without, users[at], candidates[order], vectors[order])
                outputs = device.probabilities(inputs, query.overrides.models)
                final[at, order] = device.final_scores(query, inputs, outputs).scores
            except PocketRecError:
                final = None
    return Without(users, final)
