"""One recommendation on the device: features, user tower, retrieval, ranker, re-ranking.

It always answers: without the ranker in retrieval's order; without the user tower with popular
items of the user's categories, then of all (`fallback_slate.py`). `Slate.faults` says what failed.
"""

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.candidates import extra_candidates, merged
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History, tower_inputs, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours, Votes, votes_of
from pocketrec_bundle.objectives import Scored, final_scores
from pocketrec_bundle.products import inner
from pocketrec_bundle.ranker_features import ItemColumns, Request, padded, ranker_features
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.answers import SlateItem, Source
from pocketrec_edge.engines.select import Engine, choose_engine, open_model, open_set
from pocketrec_edge.errors import EngineError, OutOfTimeError
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.fallback_slate import FallbackSlates
from pocketrec_edge.recommend.filters import FilterMask, FilterMasks
from pocketrec_edge.recommend.index import Index, search
from pocketrec_edge.recommend.policy_rerank import rerank
from pocketrec_edge.recommend.query import Query, RankedCandidates
from pocketrec_edge.recommend.reasons import Reasons
from pocketrec_edge.recommend.request_checks import check_k
from pocketrec_edge.recommend.rule_inputs import RuleInputs
from pocketrec_edge.recommend.rules import (
    PlaceProbabilities,
    RerankResult,
    apply,
    place_probabilities,
)
from pocketrec_edge.recommend.slate import Slate
from pocketrec_edge.recommend.sponsored_placements import sponsorship
from pocketrec_edge.recommend.stage_clock import StageClock
from pocketrec_edge.recommend.surfaces import SEARCH
from pocketrec_edge.recommend.texts import Texts

NOTHING_LEFT = "nothing is left: no item may be shown that the user has not had"
REMEMBERED_TIMES = 8
"""Rankings whose time tells what the next one may take: few, so that one hiccup is soon over."""


class Recommender:
    """A release with its models loaded. Not thread-safe: an interpreter holds one request."""

    def __init__(
        self,
        bundle: Bundle,
        engine: str = "auto",
        variant: str | None = None,
        *,
        models: tuple[Engine, Engine] | None = None,
        threads: int = 1,
        stopped: Fault | None = None,
    ) -> None:
        """Load both models; one that fails to load is a fault of each slate, not an error here.

        Args:
            bundle: the release.
            engine: litert, onnx or auto.
            variant: of both models; by default what the release says.
            models: user tower and ranker, loaded already; the release then needs none.
            threads: of each model; everything else runs on the calling thread.
            stopped: why no model of the release may run here; its lists answer.
        """
        self.bundle, self.spec, self.policy = bundle, bundle.spec, bundle.policy
        self.fault: Fault | None = stopped
        self.index = Index.of(bundle)
        self.items = ItemColumns(
            bundle.categories, bundle.numeric, Neighbours.of(bundle), bundle.item_features
        )
        self.filter_masks = FilterMasks(bundle)
        self.withdrawn = self.filter_masks.of(None).rows
        self._texts = Texts(bundle)
        self._reasons = Reasons(self.spec, self.index, self.items, self._texts)
        self._rule_inputs = RuleInputs(bundle, self.index, self.items, self._texts)
        self._fallback_slates = FallbackSlates(
            bundle, self.index, self.items.neighbours, self._texts
        )
        self._rank_ms: deque[float] = deque(maxlen=REMEMBERED_TIMES)
        self._tower: Engine | None = None
        self._ranker: Engine | None = None
        self._set: tuple[str, Engine] | None = None
        self._threads = threads
        self.engine = engine
        if models is not None:
            self._tower, self._ranker = models
            return
        if stopped is not None:
            return
        try:
            self.engine = choose_engine(engine, bundle.manifest)
            self._tower = open_model(bundle, "user_tower", self.engine, variant, threads)
            self._ranker = open_model(bundle, "ranker", self.engine, variant, threads)
        except PocketRecError as err:
            self.fault = Fault(FaultCode.MODEL_UNAVAILABLE, str(err))

    def recommend(self, query: Query) -> Slate:
        """Answer one request.

        Raises:
            RequestInvalidError: k is out of its range.
        """
        check_k(query.k)
        clock = StageClock()
        fault, mask = self.fault, self.filter_masks.of(query.filters)
        excluded = self.excluded(query, mask)
        excluded[query.shown] = True
        clock.mark("features")
        try:
            user = self.user_vector(query)
        except PocketRecError as err:
            fault = fault or Fault(FaultCode.USER_TOWER_FAILED, str(err))
            return self._fallback(query, excluded, mask, clock, fault)
        clock.mark("tower")
        votes = self.votes(query.history)
        nprobe = mask.cells(self.policy.probes)
        ranked = RankedCandidates.by_retrieval(
            *self.candidates(query, user, excluded, nprobe=nprobe, votes=votes)
        )
        clock.mark("retrieve")
        source: Source = "retrieval"
        of_ranker: tuple[Fault, ...] = ()
        try:
            self._expect_time(query.deadline_ms, clock)
            ranked, of_ranker = self._ranked(query, user, ranked, votes)
            if len(ranked.rows):
                self._rank_ms.append(clock.since_mark())
            source = "model"
        except OutOfTimeError as err:
            fault = fault or Fault(FaultCode.DEADLINE, str(err))
        except PocketRecError as err:
            fault = fault or Fault(FaultCode.RANKER_FAILED, str(err))
        clock.mark("rank")
        items = self._describe(query, ranked, self._reranked(query, ranked))
        clock.mark("rerank")
        left = None
        if not (len(ranked.rows) or len(query.shown) or mask.faults):
            left = Fault(FaultCode.NOTHING_LEFT, NOTHING_LEFT)
        return Slate(
            items=items,
            stage_ms=clock.total(),
            source=source,
            faults=_known(fault, *mask.faults, left, *of_ranker, self._texts.fault),
            user_vector=user,
            candidates=ranked.rows,
            scores=ranked.scores,
        )

    def excluded(self, query: Query, mask: FilterMask | None = None) -> NDArray[np.bool_]:
        """Return the rows that must not be shown, bool [N].

        These are the rows of the mask (by default withdrawn items), items of the history unless
        they may repeat or the user searched for them, and the item at hand.
        """
        excluded: NDArray[np.bool_] = (mask or self.filter_masks.of(None)).rows.copy()
        history = query.history
        repeats = self.policy.repeats or query.surface.kind == SEARCH
        if not repeats if query.exclude_seen is None else query.exclude_seen:
            excluded[history.interactions().rows] = True
        if query.surface.item is not None:
            excluded[query.surface.item] = True
        return excluded

    def _expect_time(self, deadline_ms: float | None, clock: StageClock) -> None:
        """Raise `OutOfTimeError` if ranking is likely to end after the deadline."""
        if deadline_ms is None:
            return
        left, likely = deadline_ms - clock.elapsed(), max(self._rank_ms, default=0.0)
        if likely > left:
            raise OutOfTimeError(
                f"deadline: ranking takes up to {likely:.1f} ms and {max(left, 0):.1f} of "
                f"{deadline_ms:g} ms are left; the slate is in retrieval's order"
            )

    def tower_inputs(self, query: Query) -> dict[str, NDArray[Any]]:
        """Return the user tower's inputs, see FORMAT.md."""
        vectors = self.index.vectors(used_rows(self.spec, query.history))
        return tower_inputs(self.spec, query.history, vectors, query.now_utc)

    def user_vector(self, query: Query) -> Floats32:
        """Run the user tower; float32 [d].

        Raises:
            EngineError: the model is not loaded, or it fails.
        """
        if self._tower is None:
            raise EngineError("no user tower is loaded")
        output = self._tower.run(self.tower_inputs(query))
        if output.shape != (1, self.spec.dim) or not np.isfinite(output).all():
            raise EngineError("the user tower's answer is not finite, or of the wrong shape")
        user: Floats32 = output[0]
        return user

    def votes(self, history: History) -> Votes | None:
        """Add up the votes of the history's neighbours; None if the release has none."""
        return votes_of(self.items.neighbours, self.spec, history)

    def candidates(
        self,
        query: Query,
        user: Floats32,
        excluded: NDArray[np.bool_],
        *,
        nprobe: int | None = None,
        votes: Votes | None = None,
    ) -> tuple[NDArray[np.int32], Floats32, Floats32]:
        """Return rows, vectors and retrieval scores of the ranker's input, best score first.

        Args:
            query: whose history and surface bring candidates beside the search.
            user: float32 [d], the user vector.
            excluded: bool [N], rows that must not be candidates.
            nprobe: cells to read at least; None: the policy's.
            votes: of the history, if the caller has added them up.

        Returns:
            int32 [n], float32 [n, d], float32 [n].
        """
        limit, neighbours = self._limit, self.items.neighbours
        nprobe = self.policy.probes if nprobe is None else nprobe
        own = query.surface.candidates(self.index, neighbours, limit, nprobe, excluded)
        if query.surface.is_closed:
            rows = own
        else:
            rows, scores = search(self.index, user, limit, nprobe, excluded)
            votes = votes or self.votes(query.history)
            extra = extra_candidates(self.spec, votes, query.history, query.now_utc, excluded)
            extra = merged(own, extra, limit) if len(own) else extra
            if not len(extra):
                return rows, self.index.vectors(rows), scores
            rows = merged(extra, rows, limit)
        vectors = self.index.vectors(rows)
        scores = inner(vectors, user)
        order = np.lexsort((rows, -scores))
        return rows[order], vectors[order], scores[order]

    @property
    def _limit(self) -> int:
        """Most candidates of a request."""
        return min(self.policy.candidates, self.spec.candidates)

    def ranker_inputs(
        self,
        query: Query,
        user: Floats32,
        rows: NDArray[np.int32],
        vectors: Floats32,
        votes: Votes | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs for candidates, see FORMAT.md, before padding.

        Args:
            query: whose history the features are of.
            user: float32 [d], the user vector.
            rows: int32 [n], in retrieval's order.
            vectors: float32 [n, d].
            votes: of the history, if the caller has added them up.
        """
        recent = self.index.vectors(used_rows(self.spec, query.history))
        request = Request(query.history, query.now_utc, user[None], recent, votes)
        return ranker_features(self.spec, self.items, request, rows, vectors)

    def load_set(self, name: str) -> None:
        """Load the ranker of a model set, in place of that of another set; the release's stays.

        Raises:
            EngineError: the release has no such set for the engine, its file is not on this
                device, or it does not load.
            BundleInvalidError: its file is damaged.
        """
        if self._set is None or self._set[0] != name:
            self._set = None
            self._set = name, open_set(self.bundle, name, self.engine, self._threads)

    def probabilities(self, inputs: dict[str, NDArray[Any]], models: str | None = None) -> Floats32:
        """Run a ranker on the inputs of n candidates, n at most the spec's; float32 [n, H].

        Args:
            inputs: see `ranker_inputs`.
            models: name of the model set; None: the release's ranker.

        Raises:
            EngineError: the model is not loaded, or it fails.
        """
        ranker = self._ranker
        if models is not None:
            self.load_set(models)
            ranker = None if self._set is None else self._set[1]
        if ranker is None:
            raise EngineError("no ranker is loaded")
        n = len(inputs["pair"])
        output = ranker.run(padded(self.spec, inputs))
        expected = (self.spec.candidates, len(self.spec.heads))
        if output.shape != expected or not np.isfinite(output[:n]).all():
            raise EngineError("the ranker's answer is not finite, or of the wrong shape")
        return output[:n]

    def final_scores(
        self, query: Query, inputs: dict[str, NDArray[Any]], outputs: Floats32
    ) -> Scored:
        """Return the final scores by the release's formula or head weights, or an arm's weights.

        Args:
            query: with the settings of an arm.
            inputs: of the ranker, for the numeric columns.
            outputs: float32 [n, H], of the ranker.
        """
        weights = query.overrides.head_weights
        numeric = inputs["item_numeric"]
        return final_scores(self.spec, self.bundle.objectives, outputs, numeric, weights)

    def rules_of(self, query: Query) -> Rules | None:
        """Return the rules of a request, an arm's or the release's; None: the policy alone."""
        return None if query.policy_alone else query.overrides.rules or self.bundle.rules

    def _ranked(
        self, query: Query, user: Floats32, ranked: RankedCandidates, votes: Votes | None
    ) -> tuple[RankedCandidates, tuple[Fault, ...]]:
        """Score candidates with the ranker of the request's model set, else the release's.

        Returns:
            The candidates; faults of the set's ranker, and of numbers that are not finite.

        Raises:
            EngineError: the release's ranker is not loaded, or it fails.
        """
        if not len(ranked.rows):
            return ranked, ()
        inputs = self.ranker_inputs(query, user, ranked.rows, ranked.vectors, votes)
        models, faults = query.overrides.models, []
        try:
            probabilities = self.probabilities(inputs, models)
        except PocketRecError as err:
            if models is None:
                raise
            text = f"model set {models}: {err}; the release's ranker answers"
            faults.append(Fault(FaultCode.ARM_UNUSABLE, text))
            probabilities = self.probabilities(inputs)
        final = self.final_scores(query, inputs, probabilities)
        if n := int(final.faulty.sum()):
            text = (
                f"formula: divides by 0 or is not finite for {n} of {len(ranked.rows)} candidates; "
                "0 counts in that place"
            )
            faults.append(Fault(FaultCode.FORMULA_NOT_FINITE, text))
        found = replace(ranked, scores=final.scores, probabilities=probabilities)
        return found, tuple(faults)

    def _reranked(self, query: Query, ranked: RankedCandidates) -> RerankResult:
        """Choose the slate: by score for a search, by the rules, or by the policy alone."""
        if query.surface.kind == SEARCH:
            return RerankResult.untouched(np.lexsort((ranked.rows, -ranked.scores)).tolist())
        if (rules := self.rules_of(query)) is None:
            category = self.items.categories[ranked.rows][:, 0]
            chosen = rerank(self.policy, ranked.scores, ranked.vectors, category, self._size(query))
            return RerankResult.untouched(chosen)
        return self.apply_rules(query, ranked, rules)

    def _size(self, query: Query) -> int:
        return query.k if query.k is not None else self.policy.slate

    def apply_rules(self, query: Query, ranked: RankedCandidates, rules: Rules) -> RerankResult:
        """Apply rules to scored candidates."""
        candidates, context = self._rule_inputs.candidates(ranked), self._rule_inputs.context(query)
        return apply(rules, candidates, context, self._size(query))

    def rule_probabilities(
        self, query: Query, ranked: RankedCandidates, rules: Rules
    ) -> PlaceProbabilities:
        """Return the probability of each candidate at each place, over the draws of the rules."""
        candidates, context = self._rule_inputs.candidates(ranked), self._rule_inputs.context(query)
        return place_probabilities(rules, candidates, context, self._size(query))

    def _fallback(
        self,
        query: Query,
        excluded: NDArray[np.bool_],
        mask: FilterMask,
        clock: StageClock,
        fault: Fault,
    ) -> Slate:
        """Answer without models, see `FallbackSlates.answer`."""
        items, rows = self._fallback_slates.answer(
            query,
            excluded,
            mask,
            nprobe=mask.cells(self.policy.probes),
            limit=self._limit,
            k=self._size(query),
        )
        zero = np.zeros(self.spec.dim, np.float32)
        scores = 1.0 / (1.0 + np.arange(len(rows), dtype=np.float32))
        return Slate(
            items=items,
            stage_ms=clock.total(),
            source="fallback",
            faults=_known(fault, *mask.faults, self._texts.fault),
            user_vector=zero,
            candidates=rows,
            scores=scores,
        )

    def _describe(
        self, query: Query, ranked: RankedCandidates, reranked: RerankResult
    ) -> tuple[SlateItem, ...]:
        """Return the items of a slate with texts, scores and reasons."""
        chosen = reranked.positions
        shown = ranked.rows[chosen]
        reasons = self._reasons.of(query, shown, ranked.vectors[chosen])
        texts, odds = self._texts.of(shown), ranked.probabilities[chosen].tolist()
        own, retrieved = ranked.scores[chosen].tolist(), ranked.retrieval_scores[chosen].tolist()
        return tuple(
            SlateItem(
                row=row,
                item_id=texts[i][0],
                title=texts[i][1],
                score=own[i],
                retrieval_score=retrieved[i],
                reason=reasons[i],
                probabilities=dict(zip(self.spec.heads, odds[i], strict=False)),
                propensity=reranked.propensities[i],
                touched=reranked.touched[i],
                sponsored=sponsorship(reranked.campaigns[i]),
            )
            for i, row in enumerate(shown.tolist())
        )


def _known(*faults: Fault | None) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if fault)
