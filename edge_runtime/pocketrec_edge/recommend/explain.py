"""Why an item is in the slate, at its place, or why it is not; stage by stage, for people.

Costs about as many slates as the history has events, see `contributions.py`: never on the way to
an answer.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketrec_bundle.candidates import extra_candidates
from pocketrec_bundle.declared.in_words import in_words
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_bundle.features import History, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.objectives.final_score import formula_of, parts_of
from pocketrec_bundle.products import inner
from pocketrec_bundle.settings.rules import NAMES, Rules
from pocketrec_edge.answers import RuleEffect, Source, plain_faults
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.contributions import Contribution, Without, largest, without_each
from pocketrec_edge.recommend.index import search, units
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.policy_rerank import rerank
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides, Query, RankedCandidates
from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_edge.recommend.slate import Slate

CELLS, NEIGHBOURS, OWN, POPULAR = "cells", "neighbours", "own items", "popular items"
"""Stages that bring candidates."""
SCORE, DUPLICATES, CAP = "score", "near_duplicates", "category_cap"
"""Steps of re-ranking besides a release's own rules."""
WITHDRAWN, HAD, FAR = "withdrawn", "had before", "not among the candidates"
"""Why an item is not a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The item's place among the first k after a step of re-ranking; None: not among them."""

    rule: str
    place: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemExplanation:
    """One item; places count from 1, None where it did not come so far.

    Attributes:
        item_id, title: of the item.
        brought_by: stages that brought it among the candidates.
        cell_place, cells_read: its cell by nearness to the user; how many every search reads.
        retrieval_score, retrieval_place: its inner product with the user vector, and its place
            among the candidates.
        probabilities: the ranker's outputs, by head.
        features: declared features that the ranker reads beside the numeric columns, in words.
        parts: of the final score: values of heads in their units and numbers of the item that its
            formula reads, by name; empty without objectives.
        formula: of the final score; None: the weighted sum of the heads.
        score, score_place: final score, and the place that it alone would give.
        steps: what re-ranking made of that, in its order.
        place: in the slate.
        why_not: `WITHDRAWN`, `HAD`, `FAR`, or the step after which it was not in the first k.
        touched, propensity, reason: as in the slate.
        because: the event that raised its score most.
        nearest: the event whose item has the nearest vector.
        contributions: of the last `max_history` events, oldest first.
    """

    item_id: str
    title: str
    brought_by: tuple[str, ...]
    cell_place: int
    cells_read: int
    retrieval_score: float
    retrieval_place: int | None
    probabilities: dict[str, float]
    features: dict[str, str]
    parts: dict[str, float]
    formula: str | None
    score: float | None
    score_place: int | None
    steps: tuple[Step, ...]
    place: int | None
    why_not: str | None
    touched: tuple[RuleEffect, ...]
    propensity: float | None
    reason: str | None
    because: Contribution | None
    nearest: Contribution | None
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of a slate, or of one item.

    Attributes:
        items: one explanation an item, in the slate's order.
        slate: ids of the slate.
        candidates: how many candidates the ranker scored.
        source: what made the slate, see `Source`.
        history: events of the user that took part.
        faults: what went wrong.
        release: name of the release; "" if none answered.

    Example:
        >>> from pocketrec_edge.device import Device
        >>> with Device(Path("phone"), bundle=Path("bundle"), engine="onnx") as device:
        ...     event = device.feedback("item 14", "like")
        ...     explained = device.explain(k=3)
        >>> explained.history, len(explained.items)
        (1, 3)
        >>> [item.place for item in explained.items]
        [1, 2, 3]
    """

    items: tuple[ItemExplanation, ...]
    slate: tuple[str, ...]
    candidates: int
    source: Source
    history: int
    faults: tuple[Fault, ...]
    release: str

    @classmethod
    def nothing(cls, faults: Iterable[Fault]) -> "Explanation":
        """Return the answer of a phone on which no release opens."""
        return cls(
            items=(),
            slate=(),
            candidates=0,
            source="none",
            history=0,
            faults=tuple(faults),
            release="",
        )

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON: `faults` are texts, `fault_codes` their codes."""
        return dataclasses.asdict(self) | plain_faults(self.faults)


def explain(
    device: Recommender,
    history: History,
    now_utc: int,
    k: int | None = None,
    *,
    item_id: str | None = None,
    rng: Random | None = None,
    overrides: Overrides = NO_OVERRIDES,
) -> tuple[Slate, tuple[ItemExplanation, ...]]:
    """Make a slate and explain all of it, or one item of the release.

    Nothing in it is sponsored, and a release that learns from impressions draws by its prior.

    Args:
        device: with its models.
        history: the user's events as rows of the release.
        now_utc: unix seconds.
        k: slate size, by default the policy's.
        item_id: this item alone, whether it is in the slate or not.
        rng: for releases that explore.
        overrides: of the arms of experiments.

    Raises:
        InputError: the release has no such item.
    """
    row = -1 if item_id is None else device.bundle.row_of(item_id)
    if item_id is not None and row < 0:
        raise InputError(
            f"{item_id!r}: release {device.bundle.manifest.name!r} has no such item. "
            "Give the id of one, as `device recommend` shows them."
        )
    k = max(1, k if k is not None else device.policy.slate)
    query = Query(history, now_utc, k, rng=rng, overrides=overrides)
    slate = device.recommend(query)
    if any(fault.code == FaultCode.ARM_UNUSABLE for fault in slate.faults):
        query = dataclasses.replace(query, overrides=dataclasses.replace(overrides, models=None))
    rows = [item.row for item in slate.items] if item_id is None else [row]
    explaining = _Explaining(device, query, k, slate)
    return slate, tuple(explaining.explanation(row) for row in rows)


class _Explaining:
    """One request, and what the explanations of all its items share."""

    def __init__(self, device: Recommender, query: Query, k: int, slate: Slate) -> None:
        self._device, self._query, self._k = device, query, k
        self._history, self._now = query.history, query.now_utc
        self._slate, self._rows = slate, slate.candidates
        self._by_row = {item.row: item for item in slate.items}
        self._excluded = device.excluded(query)
        self._vectors = device.index.vectors(self._rows)
        self._order: list[int] = np.lexsort((self._rows, -slate.scores)).tolist()
        self._past = used_rows(device.spec, query.history.interactions())
        self._past_titles = self._titles(self._past.tolist())
        self._past_vectors = device.index.vectors(self._past)
        self._cell_order = np.argsort(
            -inner(device.index.centroids, slate.user_vector), kind="stable"
        ).tolist()
        self._probabilities = np.zeros((len(self._rows), 0), np.float32)
        self._without: Without | None = None
        if slate.source == "fallback":
            self._brought = {POPULAR: set(self._rows.tolist())}
            self._lists: list[tuple[str, list[int]]] = []
            return
        self._brought = self._stages()
        self._lists = self._steps()
        if slate.source == "model" and len(self._rows):
            inputs = device.ranker_inputs(query, slate.user_vector, self._rows, self._vectors)
            self._probabilities = device.probabilities(inputs, query.overrides.models)
        self._without = without_each(device, query, self._rows, self._vectors)

    def explanation(self, row: int) -> ItemExplanation:
        """Explain one row of the release."""
        device, slate, item = self._device, self._slate, self._by_row.get(row)
        found = np.flatnonzero(self._rows == row)
        at = int(found[0]) if len(found) else None
        steps = tuple(
            Step(rule=name, place=rows.index(row) + 1 if row in rows else None)
            for name, rows in (() if at is None else self._lists)
        )
        vector = device.index.vectors(np.array([row], np.int32))[0]
        cell = int(np.searchsorted(device.index.offsets, row, side="right")) - 1
        contributions = self._contributions(vector, at)
        heads = () if at is None else map(float, self._probabilities[at])
        return ItemExplanation(
            item_id=device.bundle.item_id(row),
            title=self._titles([row])[row],
            brought_by=tuple(name for name, rows in self._brought.items() if row in rows),
            cell_place=self._cell_order.index(cell) + 1,
            cells_read=device.policy.probes or len(self._cell_order),
            retrieval_score=float(inner(vector[None], slate.user_vector)[0]),
            retrieval_place=None if at is None else at + 1,
            probabilities=dict(zip(device.spec.heads, heads, strict=False)),
            features=in_words(device.bundle.item_features, row),
            parts={} if at is None else self._parts(row, at),
            formula=formula_of(device.bundle.objectives),
            score=None if at is None else float(slate.scores[at]),
            score_place=None if at is None else 1 + self._order.index(at),
            steps=steps,
            place=None if item is None else 1 + list(self._by_row).index(row),
            why_not=self._why_not(row, at, steps) if item is None else None,
            touched=item.touched if item else (),
            propensity=item.propensity if item else None,
            reason=item.reason if item else None,
            because=largest(contributions),
            nearest=max(contributions, key=lambda each: each.cosine, default=None),
            contributions=contributions,
        )

    def _parts(self, row: int, at: int) -> dict[str, float]:
        """Return what the final score of a candidate is made of."""
        device, outputs = self._device, self._probabilities[at : at + 1]
        objectives = device.bundle.objectives
        if objectives is None or not outputs.size:
            return {}
        numeric = np.asarray(device.items.numeric[np.array([row])], np.float32)
        return parts_of(device.spec, objectives, outputs, numeric)

    def _stages(self) -> dict[str, set[int]]:
        """Rows that each stage brings, asked as `Recommender.candidates` asks."""
        device, history = self._device, self._history
        limit = min(device.policy.candidates, device.spec.candidates)
        user, nprobe = self._slate.user_vector, device.policy.probes
        cells, _ = search(device.index, user, limit, nprobe, self._excluded)
        both, own = (
            set(extra_candidates(device.spec, votes, history, self._now, self._excluded).tolist())
            for votes in (device.votes(history), None)
        )
        found = {CELLS: set(cells.tolist()), NEIGHBOURS: both - own, OWN: own}
        return {name: rows & set(self._rows.tolist()) for name, rows in found.items()}

    def _steps(self) -> list[tuple[str, list[int]]]:
        """Rows of the first k after each step; each list repeats the steps before it."""
        found = [(SCORE, self._order[: self._k])]
        rules = self._device.rules_of(self._query)
        if rules is None:
            policy = self._device.policy
            categories = self._device.items.categories[self._rows][:, 0]
            for name, each in (
                (DUPLICATES, dataclasses.replace(policy, category_cap=0)),
                (CAP, policy),
            ):
                chosen = rerank(each, self._slate.scores, self._vectors, categories, self._k)
                found.append((name, chosen))
        else:
            found += [
                (NAMES[type(rule)], self._ruled(dataclasses.replace(rules, rules=rules.rules[:n])))
                for n, rule in enumerate(rules.rules, 1)
            ]
        lists = [(name, self._rows[at].tolist()) for name, at in found]
        return [*lists[:-1], (lists[-1][0], list(self._by_row))]  # a draw does not come again

    def _ruled(self, rules: Rules) -> list[int]:
        ranked = RankedCandidates.by_retrieval(self._rows, self._vectors, self._slate.scores)
        query = Query(self._history, self._now, self._k)  # a draw does not come again
        return self._device.apply_rules(query, ranked, rules).positions

    def _why_not(self, row: int, at: int | None, steps: tuple[Step, ...]) -> str:
        if at is None:
            if self._device.withdrawn[row]:
                return WITHDRAWN
            return HAD if self._excluded[row] else FAR
        kept = [n for n, step in enumerate(steps) if step.place is not None]
        return steps[kept[-1] + 1].rule if kept else SCORE

    def _contributions(self, vector: Floats32, at: int | None) -> tuple[Contribution, ...]:
        if self._without is None:
            return ()
        first = len(self._history) - len(self._past)
        cosines = inner(units(self._past_vectors), units(vector[None])[0])
        less = inner(self._slate.user_vector - self._without.users, vector)
        final = None
        if at is not None and self._without.final is not None and self._slate.source == "model":
            final = self._slate.scores[at] - self._without.final[:, at]
        return tuple(
            Contribution(
                item_id=self._device.bundle.item_id(row),
                title=self._past_titles[row],
                event=self._device.spec.event_types[self._history.events[first + event]],
                ts=int(self._history.ts[first + event]),
                retrieval=float(less[event]),
                final=None if final is None else float(final[event]),
                cosine=float(cosines[event]),
            )
            for event, row in enumerate(self._past.tolist())
        )

    def _titles(self, rows: list[int]) -> dict[int, str]:
        """Titles in the order of `rows`; without a readable catalogue the ids must do."""
        bundle = self._device.bundle
        try:
            known = {item.row: item.title for item in bundle.catalogue(sorted(set(rows)))}
        except PocketRecError:
            known = {}
        return {row: known.get(row, bundle.item_id(row)) for row in rows}
