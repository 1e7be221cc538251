"""One recommendation on the device: features, user tower, retrieval, ranker, re-ranking.

Whatever fails on the way, an answer comes out: without the ranker the retrieval order, without
the tower the popular items of the user's categories, then of all (`fallback.py`); `Slate.fault`
says what happened.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.candidates import extra_candidates, merged
from bundle.errors import PocketRecError
from bundle.features import History, tower_inputs, used_rows
from bundle.neighbours import Neighbours
from bundle.ranker_features import ItemColumns, Request, padded, ranker_features
from bundle.reader import Bundle
from edge_runtime.engines import Engine, choose_engine, open_model
from edge_runtime.errors import EngineError
from edge_runtime.fallback import fallback_rows, wanted_categories
from edge_runtime.index import Floats, Index, probe
from edge_runtime.interests import reason
from edge_runtime.rerank import rerank
from edge_runtime.rules import Candidates, Moment, Ruled, Touch, apply
from edge_runtime.rules.exploration import Random

POPULAR_REASON = "popular now"
AGAIN_REASON = "you had it before"
NO_ROWS = np.zeros(0, np.int32)
MOST_TITLES = 8192
"""Titles that are remembered between requests."""


@dataclass(frozen=True, slots=True)
class SlateItem:
    """One recommended item; probabilities by head, reason in words.

    propensity: the probability that this item is at this place, below 1 where the release
    explores; touched: what the release's rules did to it, in their order.
    """

    row: int
    item_id: str
    title: str
    score: float
    retrieval_score: float
    reason: str
    probabilities: dict[str, float]
    propensity: float = 1.0
    touched: tuple[Touch, ...] = ()


@dataclass(frozen=True, slots=True)
class Slate:
    """The answer, best first; source is "model", "retrieval" or "fallback".

    candidates: int32 [n] rows in retrieval's order; scores: float32 [n], their final scores.
    """

    items: tuple[SlateItem, ...]
    stage_ms: dict[str, float]
    source: str
    fault: str | None
    user_vector: Floats = field(repr=False)
    candidates: NDArray[np.int32] = field(repr=False)
    scores: Floats = field(repr=False)


class Recommender:
    """A release with its models loaded. Not thread-safe: an interpreter holds one request."""

    def __init__(
        self,
        bundle: Bundle,
        engine: str = "auto",
        variant: str | None = None,
        *,
        models: tuple[Engine, Engine] | None = None,
    ) -> None:
        """Load both models; one that fails to load is a fault of each slate, not an error here.

        Args:
            bundle: the release.
            engine: litert, onnx or auto.
            variant: of both models; by default what the release says.
            models: user tower and ranker, loaded already; the release then needs none.
        """
        self.bundle, self.spec, self.policy = bundle, bundle.spec, bundle.policy
        self.fault: str | None = None
        self.index = Index.of(bundle)
        self.items = ItemColumns(bundle.categories, bundle.numeric, Neighbours.of(bundle))
        self.withdrawn = ~bundle.available
        self._known_titles: dict[int, str] = {}
        self._tower: Engine | None = None
        self._ranker: Engine | None = None
        self.engine = engine
        if models is not None:
            self._tower, self._ranker = models
            return
        try:
            self.engine = choose_engine(engine)
            self._tower = open_model(bundle, "user_tower", self.engine, variant)
            self._ranker = open_model(bundle, "ranker", self.engine, variant)
        except PocketRecError as err:
            self.fault = str(err)

    def recommend(
        self,
        history: History,
        now_utc: int,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        shown: NDArray[np.int32] = NO_ROWS,
        rng: Random | None = None,
        policy_alone: bool = False,
    ) -> Slate:
        """Answer one request.

        Args:
            history: the user's events as rows of this release, see `interests.with_interests` too.
            now_utc: unix seconds.
            k: slate size, by default the policy's.
            exclude_seen: leave out all items of the history; by default as the policy says.
            shown: rows of earlier pages, which must not come again.
            rng: for releases that explore; None: this request does not.
            policy_alone: re-rank by `policy.json` even if the release has rules, as apps do that
                know none; golden slates are made so.
        """
        wanted = max(1, k if k is not None else self.policy.slate)
        clock = _Stages()
        fault = self.fault
        excluded = self.excluded(history, exclude_seen)
        excluded[shown] = True
        clock.mark("features")
        try:
            user = self.user_vector(history, now_utc)
        except PocketRecError as err:
            return self._fallback(history, excluded, shown, wanted, clock, fault or str(err))
        clock.mark("tower")
        rows, vectors, scores = self.candidates(user, history, now_utc, excluded)
        clock.mark("retrieve")
        probabilities = np.zeros((len(rows), 0), np.float32)
        final, source = scores, "retrieval"
        try:
            if len(rows):
                inputs = self.ranker_inputs(user, rows, vectors, history, now_utc)
                probabilities = self.probabilities(inputs)
                final = self.spec.final_scores(probabilities)
            source = "model"
        except PocketRecError as err:
            fault = fault or str(err)
        clock.mark("rank")
        if self.bundle.rules is None or policy_alone:
            first_category = self.items.categories[rows][:, 0]
            ruled = Ruled.untouched(rerank(self.policy, final, vectors, first_category, wanted))
        else:
            ruled = self.ruled(history, now_utc, rows, vectors, final, wanted, shown, rng)
        items = self._describe(history, rows, vectors, final, scores, probabilities, ruled)
        clock.mark("rerank")
        return Slate(items, clock.total(), source, fault, user, rows, final)

    def excluded(self, history: History, exclude_seen: bool | None = None) -> NDArray[np.bool_]:
        """Rows that must not be shown, bool [N]: withdrawn, and seen unless they may repeat."""
        found: NDArray[np.bool_] = self.withdrawn.copy()
        if not self.policy.repeats if exclude_seen is None else exclude_seen:
            found[history.had().rows] = True
        return found

    def tower_inputs(self, history: History, now_utc: int) -> dict[str, NDArray[Any]]:
        """Return the user tower's inputs, see FORMAT.md."""
        vectors = self.index.vectors(used_rows(self.spec, history))
        return tower_inputs(self.spec, history, vectors, now_utc)

    def user_vector(self, history: History, now_utc: int) -> Floats:
        """Run the user tower; float32 [d].

        Raises:
            EngineError: there is none, or it fails.
        """
        if self._tower is None:
            raise EngineError("no user tower is loaded")
        found = self._tower.run(self.tower_inputs(history, now_utc))
        if found.shape != (1, self.spec.dim) or not np.isfinite(found).all():
            raise EngineError("the user tower's answer is not finite, or of the wrong shape")
        user: Floats = found[0]
        return user

    def candidates(
        self, user: Floats, history: History, now_utc: int, excluded: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Rows, vectors and retrieval scores of what the ranker gets, best score first.

        user: float32 [d]; returns int32 [n], float32 [n, d], float32 [n].
        """
        limit = min(self.policy.candidates, self.spec.candidates)
        rows, scores = probe(self.index, user, limit, self.policy.probes, excluded)
        neighbours = self.items.neighbours
        extra = extra_candidates(self.spec, neighbours, history, now_utc, excluded)
        if not len(extra):
            return rows, self.index.vectors(rows), scores
        rows = merged(extra, rows, limit)
        vectors = self.index.vectors(rows)
        scores = vectors @ user
        order = np.lexsort((rows, -scores))
        return rows[order], vectors[order], scores[order]

    def ranker_inputs(
        self,
        user: Floats,
        rows: NDArray[np.int32],
        vectors: Floats,
        history: History,
        now_utc: int,
    ) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs for these candidates, see FORMAT.md, before padding."""
        recent = self.index.vectors(used_rows(self.spec, history))
        request = Request(history, now_utc, user[None], recent)
        return ranker_features(self.spec, self.items, request, rows, vectors)

    def probabilities(self, inputs: dict[str, NDArray[Any]]) -> Floats:
        """Run the ranker on the inputs of n candidates, n at most the spec's; float32 [n, H].

        Raises:
            EngineError: there is none, or it fails.
        """
        if self._ranker is None:
            raise EngineError("no ranker is loaded")
        n = len(inputs["pair"])
        found = self._ranker.run(padded(self.spec, inputs))
        expected = (self.spec.candidates, len(self.spec.heads))
        if found.shape != expected or not np.isfinite(found[:n]).all():
            raise EngineError("the ranker's answer is not finite, or of the wrong shape")
        return found[:n]

    def ruled(
        self,
        history: History,
        now_utc: int,
        rows: NDArray[np.int32],
        vectors: Floats,
        scores: Floats,
        k: int,
        shown: NDArray[np.int32] = NO_ROWS,
        rng: Random | None = None,
    ) -> Ruled:
        """Apply the release's rules, which it must have, to scored candidates."""
        assert self.bundle.rules is not None
        columns = self.items
        candidates = Candidates(
            rows=rows,
            scores=scores,
            vectors=vectors,
            categories=np.asarray(columns.categories[rows]),
            numeric=np.asarray(columns.numeric[rows]),
            columns=self.spec.numeric,
            titles=self._titles,
        )
        moment = Moment(
            now_utc=now_utc,
            past_categories=np.asarray(columns.categories[history.rows]),
            past_numeric=np.asarray(columns.numeric[history.rows]),
            shown=shown,
            shown_vectors=self.index.vectors(shown),
            rng=rng,
        )
        return apply(self.bundle.rules, candidates, moment, k)

    def _fallback(
        self,
        history: History,
        excluded: NDArray[np.bool_],
        shown: NDArray[np.int32],
        k: int,
        clock: "_Stages",
        fault: str,
    ) -> Slate:
        """Popular items; seen ones too if nothing else is left, withdrawn and shown ones never."""
        popular = np.asarray(self.bundle.array("items/popular"))
        codes = wanted_categories(self.items.categories, history)
        rows, lists = fallback_rows(self.bundle.cohorts, codes, popular, excluded)
        if not len(rows):
            hidden = self.withdrawn.copy()
            hidden[shown] = True
            rows, lists = fallback_rows(self.bundle.cohorts, codes, popular, hidden)
        titles, categories = self._titles(rows[:k]), self.spec.categories
        items = tuple(
            SlateItem(
                row=row,
                item_id=self.bundle.item_id(row),
                title=titles[place],
                score=1.0 / (place + 1),
                retrieval_score=0.0,
                reason=f"popular in {categories[code - 1]}" if code else POPULAR_REASON,
                probabilities={},
            )
            for place, (row, code) in enumerate(zip(rows[:k].tolist(), lists, strict=False))
        )
        zero = np.zeros(self.spec.dim, np.float32)
        scores = 1.0 / (1.0 + np.arange(len(rows), dtype=np.float32))
        return Slate(items, clock.total(), "fallback", fault, zero, rows, scores)

    def _describe(
        self,
        history: History,
        rows: NDArray[np.int32],
        vectors: Floats,
        final: Floats,
        scores: Floats,
        probabilities: Floats,
        ruled: Ruled,
    ) -> tuple[SlateItem, ...]:
        past, chosen = used_rows(self.spec, history), ruled.positions
        shown = rows[chosen]
        reasons = [POPULAR_REASON] * len(shown)
        if len(past):
            nearest = np.argmax(vectors[chosen] @ self.index.vectors(past).T, axis=1)  # [slate]
            again = np.isin(shown, history.had().rows).tolist()
            because = self._titles(past[nearest])
            reasons = [
                AGAIN_REASON if had else f"because of {title}"
                for had, title in zip(again, because, strict=True)
            ]
            chosen_for = history.interests[len(history) - len(past) :]
            for at in np.flatnonzero(nearest < len(chosen_for)).tolist():
                if not again[at]:
                    own, event = self.items.categories[shown[at]].tolist(), int(nearest[at])
                    reasons[at] = reason(self.spec, chosen_for, chosen_for[event], own)
        titles, odds = self._titles(shown), probabilities[chosen].tolist()
        own, retrieved = final[chosen].tolist(), scores[chosen].tolist()
        return tuple(
            SlateItem(
                row=row,
                item_id=self.bundle.item_id(row),
                title=titles[i],
                score=own[i],
                retrieval_score=retrieved[i],
                reason=reasons[i],
                probabilities=dict(zip(self.spec.heads, odds[i], strict=False)),
                propensity=ruled.propensities[i],
                touched=ruled.touched[i],
            )
            for i, row in enumerate(shown.tolist())
        )

    def _titles(self, rows: NDArray[np.int32]) -> list[str]:
        """Titles of rows, remembered: most come again, and a look-up takes 10 us.

        Without a readable catalogue the ids must do.
        """
        wanted = rows.tolist()
        known = self._known_titles
        if new := {row for row in wanted if row not in known}:
            if len(known) + len(new) > MOST_TITLES:
                known, new = {}, set(wanted)
            try:
                found = {item.row: item.title for item in self.bundle.catalogue(sorted(new))}
            except PocketRecError:
                found = {row: self.bundle.item_id(row) for row in new}
            known.update((row, found.get(row, "")) for row in new)
            self._known_titles = known
        return [self._known_titles[row] for row in wanted]


class _Stages:
    """Milliseconds between marks."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._ms: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self._ms[stage] = (now - self._last) * 1000
        self._last = now

    def total(self) -> dict[str, float]:
        return {**self._ms, "total": (time.perf_counter() - self._start) * 1000}
