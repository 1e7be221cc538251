"""One recommendation on the device: features, user tower, retrieval, ranker, re-ranking.

Whatever fails on the way, an answer comes out: without the ranker the retrieval order, without
the tower the release's popular items; `Slate.fault` says what happened.
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
from edge_runtime.index import Floats, Index, probe
from edge_runtime.rerank import rerank

POPULAR_REASON = "popular now"
AGAIN_REASON = "you had it before"


@dataclass(frozen=True, slots=True)
class SlateItem:
    """One recommended item; probabilities by head, reason in words."""

    row: int
    item_id: str
    title: str
    score: float
    retrieval_score: float
    reason: str
    probabilities: dict[str, float]


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
    ) -> Slate:
        """Answer one request.

        Args:
            history: the user's events as rows of this release.
            now_utc: unix seconds.
            k: slate size, by default the policy's.
            exclude_seen: leave out all items of the history; by default as the policy says.
        """
        wanted = max(1, k if k is not None else self.policy.slate)
        clock = _Stages()
        fault = self.fault
        excluded = self.excluded(history, exclude_seen)
        clock.mark("features")
        try:
            user = self.user_vector(history, now_utc)
        except PocketRecError as err:
            return self._fallback(excluded, wanted, clock, fault or str(err))
        clock.mark("tower")
        rows, vectors, scores = self.candidates(user, history, now_utc, excluded)
        clock.mark("retrieve")
        probabilities = np.zeros((len(rows), 0), np.float32)
        final, source = scores, "retrieval"
        try:
            if len(rows):
                inputs = self.ranker_inputs(user, rows, vectors, history, now_utc)
                probabilities = self.probabilities(inputs)
                final = probabilities @ np.array(self.spec.head_weights, np.float32)
            source = "model"
        except PocketRecError as err:
            fault = fault or str(err)
        clock.mark("rank")
        chosen = rerank(self.policy, final, vectors, self.items.categories[rows][:, 0], wanted)
        items = self._describe(history, rows, vectors, final, scores, probabilities, chosen)
        clock.mark("rerank")
        return Slate(items, clock.total(), source, fault, user, rows, final)

    def excluded(self, history: History, exclude_seen: bool | None = None) -> NDArray[np.bool_]:
        """Rows that must not be shown, bool [N]: withdrawn, and seen unless they may repeat."""
        found: NDArray[np.bool_] = self.withdrawn.copy()
        if not self.policy.repeats if exclude_seen is None else exclude_seen:
            found[history.rows] = True
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

    def _fallback(self, excluded: Any, k: int, clock: "_Stages", fault: str) -> Slate:
        """Popular items; seen ones too if nothing else is left, withdrawn ones never."""
        popular = np.asarray(self.bundle.array("items/popular"))
        rows = popular[~excluded[popular]]
        if not len(rows):
            rows = popular[~self.withdrawn[popular]]
        titles = self._titles(rows[:k])
        items = tuple(
            SlateItem(
                int(row),
                self.bundle.item_id(int(row)),
                titles.get(int(row), ""),
                1.0 / (place + 1),
                0.0,
                POPULAR_REASON,
                {},
            )
            for place, row in enumerate(rows[:k])
        )
        zero = np.zeros(self.spec.dim, np.float32)
        scores = 1.0 / (1.0 + np.arange(len(rows), dtype=np.float32))
        return Slate(items, clock.total(), "fallback", fault, zero, rows.astype(np.int32), scores)

    def _describe(
        self,
        history: History,
        rows: NDArray[np.int32],
        vectors: Floats,
        final: Floats,
        scores: Floats,
        probabilities: Floats,
        chosen: list[int],
    ) -> tuple[SlateItem, ...]:
        past = used_rows(self.spec, history)
        similar = vectors[chosen] @ self.index.vectors(past).T  # [slate, n]
        nearest = np.argmax(similar, axis=1) if len(past) else np.zeros(0, np.int64)
        titles = self._titles([*rows[chosen], *past[nearest]])
        had = set(history.rows.tolist())

        def reason(i: int, at: int) -> str:
            if int(rows[at]) in had:
                return AGAIN_REASON
            return f"because of {titles.get(int(past[nearest[i]]), '')}" if had else POPULAR_REASON

        return tuple(
            SlateItem(
                row=int(rows[at]),
                item_id=self.bundle.item_id(int(rows[at])),
                title=titles.get(int(rows[at]), ""),
                score=float(final[at]),
                retrieval_score=float(scores[at]),
                reason=reason(i, at),
                probabilities=dict(
                    zip(self.spec.heads, map(float, probabilities[at]), strict=False)
                ),
            )
            for i, at in enumerate(chosen)
        )

    def _titles(self, rows: Any) -> dict[int, str]:
        """Titles of rows; without a readable catalogue the ids must do."""
        wanted = sorted({int(row) for row in rows})
        try:
            return {item.row: item.title for item in self.bundle.catalogue(wanted)}
        except PocketRecError:
            return {row: self.bundle.item_id(row) for row in wanted}


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
