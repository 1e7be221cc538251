"""Gather what the rules of a release read: the candidates of one query and its context."""

import numpy as np

from pocketrec_bundle.ranker_features import ItemColumns
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_edge.recommend.index import Index
from pocketrec_edge.recommend.query import Query, RankedCandidates
from pocketrec_edge.recommend.rules import RequestContext, RuleCandidates
from pocketrec_edge.recommend.rules.thompson import feedback_of
from pocketrec_edge.recommend.sponsored_placements import SponsoredPlacements
from pocketrec_edge.recommend.texts import Texts


class RuleInputs:
    """The columns, vectors and campaigns of one release that its rules read."""

    def __init__(self, bundle: Bundle, index: Index, items: ItemColumns, texts: Texts) -> None:
        self._columns, self._index, self._items = bundle.spec.numeric, index, items
        self._texts, self._bundle = texts, bundle
        self._placements = SponsoredPlacements(bundle, bundle.campaigns)

    def candidates(self, ranked: RankedCandidates) -> RuleCandidates:
        """Return scored candidates with their columns."""
        return RuleCandidates(
            rows=ranked.rows,
            scores=ranked.scores,
            vectors=ranked.vectors,
            categories=np.asarray(self._items.categories[ranked.rows]),
            numeric=np.asarray(self._items.numeric[ranked.rows]),
            columns=self._columns,
            titles=self._texts.titles,
        )

    def context(self, query: Query) -> RequestContext:
        """Return the user's past, the time, earlier pages and the campaigns that may be shown."""
        items, history, showings = self._items, query.history, query.showings
        feedback = None if query.impressions is None else feedback_of(query.impressions, items)
        return RequestContext(
            now_utc=query.now_utc,
            past_categories=np.asarray(items.categories[history.rows]),
            past_numeric=np.asarray(items.numeric[history.rows]),
            shown=query.shown,
            shown_vectors=self._index.vectors(query.shown),
            rng=query.rng,
            feedback=feedback,
            campaigns=()
            if showings is None
            else self._placements_of(query.overrides.campaigns).at(query.now_utc, showings),
        )

    def _placements_of(self, campaigns: Campaigns | None) -> SponsoredPlacements:
        """Return the placements of an arm's campaigns, kept for the next request; None: own."""
        campaigns = self._bundle.campaigns if campaigns is None else campaigns
        if campaigns is not self._placements.campaigns:
            self._placements = SponsoredPlacements(self._bundle, campaigns)
        return self._placements
