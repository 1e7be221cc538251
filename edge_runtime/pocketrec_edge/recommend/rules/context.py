"""The inputs of rules: the candidates of one request and its context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32
from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign
from pocketrec_edge.recommend.rules.thompson import Feedback

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCandidates:
    """The candidates that rules choose from, in any order.

    Attributes:
        rows: int32 [n], of the release.
        scores: float32 [n], final scores.
        vectors: float32 [n, d], item vectors.
        categories: integer [n, K] codes, 0 = padding.
        numeric: float32 [n, M], by `columns`.
        columns: names of the numeric columns.
        titles: returns the titles of rows; only rules that read titles call it.
    """

    rows: NDArray[np.int32]
    scores: Floats32
    vectors: Floats32
    categories: Positions
    numeric: Floats32
    columns: tuple[str, ...]
    titles: Callable[[NDArray[np.int32]], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """The context of one request: the user's past, the time, earlier pages.

    Attributes:
        now_utc: unix seconds.
        past_categories: of the history's events, as `RuleCandidates.categories`.
        past_numeric: of the history's events, as `RuleCandidates.numeric`.
        shown: int32 [m], rows of earlier pages.
        shown_vectors: float32 [m, d], their item vectors.
        rng: source of randomness; None: no exploration.
        feedback: the latest impressions; None if the log cannot provide them.
        campaigns: campaigns that may take sponsored placements.
    """

    now_utc: int
    past_categories: Positions
    past_numeric: Floats32
    shown: NDArray[np.int32]
    shown_vectors: Floats32
    rng: Random | None = None
    feedback: Feedback | None = None
    campaigns: tuple[EligibleCampaign, ...] = ()
