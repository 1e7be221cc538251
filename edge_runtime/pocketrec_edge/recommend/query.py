"""One request to the recommender, as a value that every stage reads."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import History
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.events.feedback import Impressions
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_edge.recommend.surfaces import Surface

NO_ROWS = np.zeros(0, np.int32)
HOME = Surface()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overrides:
    """Settings of an experiment's arm that replace those of the release; None: the release's own.

    Attributes:
        rules: applied in place of `rules.json`, also if the release has none.
        head_weights: weight of each head, in the order of the feature spec.
        campaigns: in place of `campaigns.json`.
        models: name of the model set whose ranker scores; None: the release's ranker.
    """

    rules: Rules | None = None
    head_weights: tuple[float, ...] | None = None
    campaigns: Campaigns | None = None
    models: str | None = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request.

    Attributes:
        history: the user's events as rows of the release, see `interests.with_interests` too.
        now_utc: unix seconds.
        k: slate size; None: the policy's.
        exclude_seen: leave out all items of the history; None: as the policy says.
        filters: what all items must be, the fallback's too; a list ends if no more pass.
        shown: int32 [m], rows of earlier pages, which must not come again.
        rng: for releases that explore; None: this request does not explore.
        impressions: for releases that learn from the user's feedback.
        showings: of each campaign today, on this device; None: nothing is sponsored.
        surface: where the list stands (JSON's `scene`); a search returns all its results, in a new
            order.
        deadline_ms: if ranking would probably take longer than what is left of it, the slate is in
            retrieval's order and a fault says so.
        policy_alone: re-rank by `policy.json` even if the release has rules, as apps do that do
            not know rules; golden slates are made so.
        overrides: of the arms of experiments.
    """

    history: History
    now_utc: int
    k: int | None = None
    _: KW_ONLY
    exclude_seen: bool | None = None
    filters: Filters | None = None
    shown: NDArray[np.int32] = field(default_factory=lambda: NO_ROWS)
    rng: Random | None = None
    impressions: Impressions | None = None
    showings: Mapping[str, int] | None = None
    surface: Surface = HOME
    deadline_ms: float | None = None
    policy_alone: bool = False
    overrides: Overrides = NO_OVERRIDES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedCandidates:
    """The candidates of one query, scored.

    Attributes:
        rows: int32 [n], of the release, in retrieval's order.
        vectors: float32 [n, d], item vectors.
        retrieval_scores: float32 [n], inner products with the user vector.
        scores: float32 [n], final scores; retrieval's if no ranker ran.
        probabilities: float32 [n, heads], the ranker's; [n, 0] if none ran.
    """

    rows: NDArray[np.int32]
    vectors: Floats32
    retrieval_scores: Floats32
    scores: Floats32
    probabilities: Floats32

    @classmethod
    def by_retrieval(
        cls, rows: NDArray[np.int32], vectors: Floats32, scores: Floats32
    ) -> "RankedCandidates":
        """Return candidates that no ranker has scored."""
        return cls(
            rows=rows,
            vectors=vectors,
            retrieval_scores=scores,
            scores=scores,
            probabilities=np.zeros((len(rows), 0), np.float32),
        )
