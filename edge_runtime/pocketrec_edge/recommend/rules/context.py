"""What rules decide by: the candidates of one request, and the moment in which it is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_edge.recommend.rules.sponsored import Offer
from pocketrec_edge.recommend.rules.thompson import Feedback

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What the rules choose from, in any order.

    rows: int32 [n], of the release; scores: float32 [n], final ones; vectors: float32 [n, d];
    categories: integer [n, K] codes, 0 = padding; numeric: float32 [n, M] by `columns`; titles:
    looks up those of rows, called by rules that read them.
    """

    rows: NDArray[np.int32]
    scores: Floats
    vectors: Floats
    categories: Positions
    numeric: Floats
    columns: tuple[str, ...]
    titles: Callable[[NDArray[np.int32]], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Who asks, and when.

    now_utc: unix seconds; past_categories, past_numeric: of the history's events, as the
    candidates'; shown: rows of earlier pages, shown_vectors: float32 [m, d], theirs; rng: the
    source of randomness, None: no exploration; feedback: the latest impressions, None: none known;
    offers: campaigns that may take sponsored places.
    """

    now_utc: int
    past_categories: Positions
    past_numeric: Floats
    shown: NDArray[np.int32]
    shown_vectors: Floats
    rng: Random | None = None
    feedback: Feedback | None = None
    offers: tuple[Offer, ...] = ()
