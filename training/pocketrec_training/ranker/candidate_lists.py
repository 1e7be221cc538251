"""Candidate lists: what retrieval returns for past cases, with the features of that time.

Features come from `pocketrec_bundle.ranker_features`, the code of the devices, applied to the
events before each case. Lists are those that retrieval returns after the filter of seen items. So
training, evaluation and serving have the same distribution.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.candidates import extra_candidates, merged
from pocketrec_bundle.declared.item_features import ItemFeatures
from pocketrec_bundle.features import FeatureSpec, History, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours, votes_of
from pocketrec_bundle.objectives import Objectives
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.data.features.columns import (
    category_codes,
    numeric_columns,
    release_popularity,
)
from pocketrec_training.metrics.ranks import best_rows
from pocketrec_training.ranker.outcomes import Outcomes
from pocketrec_training.towers.user_vectors import user_vectors

Case = tuple[int, int]
"""(user, position): an evaluation instance, just before this event of the user."""

_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateLists:
    """Lists of m retrieved items for n cases.

    Attributes:
        user_vector: float32 [n, d].
        context: float32 [n, K], context features.
        rows: int32 [n, m], rows of the items, best first.
        numeric: float32 [n, m, M], item features.
        pair: float32 [n, m, P], features of user and item.
        labels: float32 [n, m, H], for each head: 0 or 1; of objectives, values / scale, 0..1.
        real: bool [n, m], mask; False if the catalogue is too small to fill the list.
    """

    user_vector: Floats32
    context: Floats32
    rows: NDArray[np.int32]
    numeric: Floats32
    pair: Floats32
    labels: Floats32
    real: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: NDArray[Any]) -> "CandidateLists":
        """Return some cases."""
        return CandidateLists(
            **{name: getattr(self, name)[at] for name in self.__dataclass_fields__}
        )

    def joined(self, other: "CandidateLists") -> "CandidateLists":
        """Return these cases, then the other ones."""
        return CandidateLists(
            **{
                name: np.concatenate([getattr(self, name), getattr(other, name)])
                for name in self.__dataclass_fields__
            }
        )

    def at_ranks(self, chosen: NDArray[Any]) -> "CandidateLists":
        """Return the items at some ranks of each list; chosen: integer [n, k]."""
        at = np.arange(len(self))[:, None]
        flat = ("rows", "numeric", "pair", "labels", "real")
        kept = {name: getattr(self, name)[at, chosen] for name in flat}
        return CandidateLists(user_vector=self.user_vector, context=self.context, **kept)


class CandidateGenerator:
    """Run retrieval for past cases and compute the features of the retrieved items."""

    def __init__(
        self,
        spec: FeatureSpec,
        data: Dataset,
        user_tower: keras.Model,
        table: Floats32,
        *,
        neighbours: Neighbours | None = None,
        declared: ItemFeatures | None = None,
        repeats: bool = False,
        baskets: bool = False,
        outcomes: Outcomes | None = None,
    ) -> None:
        """Compute the item columns of the features.

        Args:
            spec: names of the features.
            data: sequences; item columns come from its training fold.
            user_tower: trained.
            table: float32 [n_items, d], the item vectors.
            neighbours: item neighbours, if the spec uses them.
            declared: declared features that the ranker reads beside the columns of the spec.
            repeats: whether items of the history can be recommended again.
            baskets: whether a user's events of one time are one case with several positives;
                otherwise each event is a case.
            outcomes: objectives, which label the lists; None: "engage" and "like" do.
        """
        self.outcomes = outcomes
        self.spec, self.data, self.table = spec, data, table
        self.user_tower, self.baskets, self.repeats = user_tower, baskets, repeats
        self.items = ItemColumns(
            category_codes(spec, data.items.categories),
            numeric_columns(spec, data.items, release_popularity(spec, data)),
            neighbours,
            declared,
        )

    def over(self, data: Dataset) -> "CandidateGenerator":
        """Return the same retrieval over other sequences, with item columns computed from them."""
        return type(self)(
            self.spec,
            data,
            self.user_tower,
            self.table,
            neighbours=self.items.neighbours,
            declared=self.items.declared,
            repeats=self.repeats,
            baskets=self.baskets,
            outcomes=self.outcomes,
        )

    @property
    def objectives(self) -> Objectives | None:
        """What the heads mean, with the formula; None without objectives and formula."""
        return None if self.outcomes is None else self.outcomes.objectives

    def asking(self, data: Dataset) -> "CandidateGenerator":
        """Return the same retrieval and item columns for the histories of other sequences."""
        other = copy(self)
        other.data = data
        return other

    def latest_cases(self, fold: int, limit: int) -> list[Case]:
        """Return (user, position) of a fold's events, or baskets' first events; newest first.

        At most `limit`; the latest case of every user precedes the second latest of any user.
        """
        cases = []
        for user in range(self.data.n_users):
            start, stop = int(self.data.offsets[user]), int(self.data.offsets[user + 1])
            positions = np.flatnonzero(self.data.fold[start:stop] == fold)
            if self.baskets:
                times = self.data.ts[start:stop]
                positions = positions[[i == 0 or times[i] > times[i - 1] for i in positions]]
            positions = positions[positions > 0]
            cases += [
                (len(positions) - i, user, int(position)) for i, position in enumerate(positions)
            ]
        return [(user, position) for _, user, position in sorted(cases)[:limit]]

    def lists_for(self, cases: list[Case]) -> CandidateLists:
        """Return the list that a device would rank for each case, labelled by the next events.

        A case whose next item was not retrieved has no positive. Adding it at the end of the list
        was tried: a ranker then learns that the end of the list is good (MovieLens-100K validation,
        logistic regression: AUC .69 instead of .79).

        Args:
            cases: (user, position); the first event of its basket, with baskets.
        """
        spec, m = self.spec, self.spec.candidates
        n, heads = len(cases), len(self.spec.heads)
        vectors = np.zeros((n, spec.dim), np.float32)
        for at in range(0, n, _CHUNK):
            part = cases[at : at + _CHUNK]
            vectors[at : at + _CHUNK] = user_vectors(
                self.user_tower, self.table, spec, self.data, part
            )
        lists = CandidateLists(
            user_vector=vectors,
            context=np.zeros((n, len(spec.context)), np.float32),
            rows=np.zeros((n, m), np.int32),
            numeric=np.zeros((n, m, len(spec.numeric)), np.float32),
            pair=np.zeros((n, m, len(spec.pair)), np.float32),
            labels=np.zeros((n, m, heads), np.float32),
            real=np.zeros((n, m), np.bool_),
        )
        for i, case in enumerate(cases):
            rows = self.list_for(case, vectors[i], repeats=self.repeats)
            labels = self._labels(case, rows)
            inputs = self.inputs_for(case, vectors[i], rows)
            k = len(rows)
            lists.context[i] = inputs["context"][0]
            lists.rows[i, :k], lists.real[i, :k] = rows, True
            lists.numeric[i, :k], lists.pair[i, :k] = inputs["item_numeric"], inputs["pair"]
            lists.labels[i, :k] = labels
        return lists

    def inputs_for(
        self, case: Case, vector: Floats32, rows: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs for a list of one case, as on the device.

        Args:
            case: (user, position).
            vector: float32 [d], the user's vector at that time.
            rows: the list, best first.
        """
        past, now = self._moment(case)
        request = Request(past, now, vector[None], self.table[used_rows(self.spec, past)])
        with self._popularity_without(*case):
            return ranker_features(self.spec, self.items, request, rows, self.table[rows])

    def flat(self, lists: CandidateLists) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs with one row for each item of a list, [n * m, ...]."""
        n, m = lists.rows.shape
        rows = lists.rows.ravel()
        return {
            "user_vector": np.repeat(lists.user_vector, m, axis=0),
            "item_vectors": self.table[rows],
            **self.items.of_rows(rows),
            "item_numeric": lists.numeric.reshape(n * m, -1),
            "context": np.repeat(lists.context, m, axis=0),
            "pair": lists.pair.reshape(n * m, -1),
        }

    def flat_one(self, lists: CandidateLists, at: int) -> dict[str, NDArray[Any]]:
        """Return one case's inputs as on a device, before padding."""
        inputs = self.flat(lists.take(np.array([at])))
        one_row = {name: inputs[name][:1] for name in ("user_vector", "context")}
        return {**inputs, **one_row}

    def _moment(self, case: Case) -> tuple[History, int]:
        """Return the history before a case, and its time in unix seconds."""
        user, end = case
        return self.data.history(user, end), int(self.data.ts[self.data.offsets[user] + end])

    def list_for(self, case: Case, vector: Floats32, *, repeats: bool) -> NDArray[np.int32]:
        """Return the rows of the list of one case, as on the device; int32 [<= B]."""
        past, now = self._moment(case)
        excluded = np.zeros(len(self.table), np.bool_)
        excluded[past.rows] = not repeats
        scores = self.table @ vector
        retrieved = best_rows(np.where(excluded, -np.inf, scores), self.spec.candidates)
        votes = votes_of(self.items.neighbours, self.spec, past)
        extra = extra_candidates(self.spec, votes, past, now, excluded)
        rows = merged(extra, retrieved, self.spec.candidates)
        return rows[np.lexsort((rows, -scores[rows]))]

    def _labels(self, case: Case, rows: NDArray[np.int32]) -> Floats32:
        labels = np.zeros((len(rows), len(self.spec.heads)), np.float32)
        if self.outcomes is not None and self.outcomes.declared:
            last = self._basket(case)[1]
            found = self.outcomes.labels(self.data, self.spec.event_types, case, last)
            for row, gain in zip(*found, strict=True):
                labels[rows == row] = gain
            return labels
        for row, gains in zip(*self._outcome(case), strict=True):
            labels[rows == row] = gains
        return labels

    def _basket(self, case: Case) -> tuple[int, int]:
        """Return first and last (exclusive) place of the next event, or basket, of all events."""
        user, end = case
        at, stop = int(self.data.offsets[user]) + end, int(self.data.offsets[user + 1])
        last = at + 1
        while self.baskets and last < stop and self.data.ts[last] == self.data.ts[at]:
            last += 1
        return at, last

    def _outcome(self, case: Case) -> tuple[list[int], list[list[float]]]:
        """Return the rows of the user's next events, and their labels for each head.

        A like counts only together with an event. So both heads are probabilities of the same case,
        and their weighted sum orders by expected value.
        """
        at, last = self._basket(case)
        types = self.spec.event_types
        like = types.index("like") if "like" in types else -1
        rows = [int(row) for row in self.data.rows[at:last]]
        liked = [float(event == like) for event in self.data.events[at:last]]
        return rows, [[x if h == "like" else 1.0 for h in self.spec.heads] for x in liked]

    @contextmanager
    def _popularity_without(self, user: int, end: int) -> Iterator[None]:
        """Subtract the user's own events from `end` on from the popularity, and add them again.

        The popularity counts them only if the ranker learns from the towers' training events. Then
        one event more would reveal the answer.
        """
        start, stop = int(self.data.offsets[user]) + end, int(self.data.offsets[user + 1])
        own = self.data.rows[start:stop][self.data.fold[start:stop] == TRAIN]
        column = self.items.numeric[:, self.spec.numeric.index("popularity")]
        np.subtract.at(column, own, 1.0)
        try:
            yield
        finally:
            np.add.at(column, own, 1.0)


def feature_names(spec: FeatureSpec) -> list[str]:
    """Name each column, e.g. "pair.times_had"; user vector and rows have one name each."""
    groups = {"context": spec.context, "numeric": spec.numeric, "pair": spec.pair}
    columns = [f"{group}.{name}" for group, given in groups.items() for name in given]
    return ["user_vector", "rows", *columns]
