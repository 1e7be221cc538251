"""The recommender's result for one request, before it becomes the answer to the app."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32
from pocketrec_edge.answers import SlateItem, Source
from pocketrec_edge.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """The recommender's result for one request.

    Attributes:
        items: best first.
        stage_ms: milliseconds of each stage and their "total".
        source: "model", "retrieval" or "fallback".
        faults: what went wrong on the way.
        user_vector: float32 [d]; zeros without a user tower.
        candidates: int32 [n], rows in retrieval's order.
        scores: float32 [n], final scores of the candidates.
    """

    items: tuple[SlateItem, ...]
    stage_ms: dict[str, float]
    source: Source
    faults: tuple[Fault, ...]
    user_vector: Floats32 = field(repr=False)
    candidates: NDArray[np.int32] = field(repr=False)
    scores: Floats32 = field(repr=False)
