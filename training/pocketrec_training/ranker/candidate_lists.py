"""What retrieval hands to the ranker at past moments, with features as they stood then.

Features come from `pocketrec_bundle.ranker_features`, the code that devices run, applied to the
events before each moment; the lists are those that retrieval returns after the seen filter, so
training, measuring and serving meet the same distribution.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.candidates import extra_candidates, merged
from pocketrec_bundle.features import FeatureSpec, History, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours, votes_of
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_training.data.dataset import (
    TRAIN,
    Dataset,
    category_codes,
    numeric_columns,
    release_popularity,
)
from pocketrec_training.metrics.ranks import best_rows
from pocketrec_training.towers.user_vectors import user_vectors

Case = tuple[int, int]
"""(user, position): served just before that event of the user."""

_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateLists:
    """Lists of retrieved items, n cases of m places.

    user_vector: float32 [n, d]; context: float32 [n, K]; rows: int32 [n, m], best first; numeric:
    float32 [n, m, M]; pair: float32 [n, m, P]; labels: float32 [n, m, H]; real: bool [n, m], False
    where the catalogue was too small to fill the list.
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

    def places(self, chosen: NDArray[Any]) -> "CandidateLists":
        """Return some places of each case; chosen: integer [n, k]."""
        at = np.arange(len(self))[:, None]
        flat = ("rows", "numeric", "pair", "labels", "real")
        kept = {name: getattr(self, name)[at, chosen] for name in flat}
        return CandidateLists(user_vector=self.user_vector, context=self.context, **kept)


class CandidateGenerator:
    """Runs retrieval for past moments and looks up the features of what it returns."""

    def __init__(
        self,
        spec: FeatureSpec,
        data: Dataset,
        user_tower: keras.Model,
        table: Floats32,
        *,
        neighbours: Neighbours | None = None,
        repeats: bool = False,
        baskets: bool = False,
    ) -> None:
        """Keep the release's side of the features.

        Args:
            spec: names of the features.
            data: sequences; item columns come from its training fold.
            user_tower: trained.
            table: float32 [n_items, d], the item vectors.
            neighbours: of the release, if the spec has any.
            repeats: items of the history may be shown again.
            baskets: events of one user at one time are one occasion with several positives;
                otherwise each event is an occasion of its own.
        """
        self.spec, self.data, self.table = spec, data, table
        self.user_tower, self.baskets, self.repeats = user_tower, baskets, repeats
        self.items = ItemColumns(
            category_codes(spec, data.items.categories),
            numeric_columns(spec, data.items, release_popularity(spec, data)),
            neighbours,
        )

    def over(self, data: Dataset) -> "CandidateGenerator":
        """Return the same retrieval over other sequences, with item columns computed from them."""
        return type(self)(
            self.spec,
            data,
            self.user_tower,
            self.table,
            neighbours=self.items.neighbours,
            repeats=self.repeats,
            baskets=self.baskets,
        )

    def occasions(self, fold: int, limit: int) -> list[Case]:
        """Return (user, position) of a fold's events, or baskets' first events; newest first.

        At most `limit`, the latest of every user before the second latest of any.
        """
        found = []
        for user in range(self.data.n_users):
            start, stop = int(self.data.offsets[user]), int(self.data.offsets[user + 1])
            at = np.flatnonzero(self.data.fold[start:stop] == fold)
            if self.baskets:
                times = self.data.ts[start:stop]
                at = at[[i == 0 or times[i] > times[i - 1] for i in at]]
            at = at[at > 0]
            found += [(len(at) - i, user, int(position)) for i, position in enumerate(at)]
        return [(user, position) for _, user, position in sorted(found)[:limit]]

    def slates(self, cases: list[Case]) -> CandidateLists:
        """Return what a device would rank at each case, labelled by what happened next.

        A case whose outcome retrieval missed has no positive. Putting missed ones on the last
        places, so that every case teaches, was tried: a ranker then learns that the end of the
        list is good (MovieLens-100K validation, logistic regression: AUC .69 instead of .79).

        Args:
            cases: (user, position); the first event of its basket, with baskets.
        """
        spec, m = self.spec, self.spec.candidates
        n, heads = len(cases), len(self.spec.heads)
        vectors = np.concatenate(
            [
                user_vectors(self.user_tower, self.table, spec, self.data, cases[at : at + _CHUNK])
                for at in range(0, n, _CHUNK)
            ]
        )
        found = CandidateLists(
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
            found.context[i] = inputs["context"][0]
            found.rows[i, :k], found.real[i, :k] = rows, True
            found.numeric[i, :k], found.pair[i, :k] = inputs["item_numeric"], inputs["pair"]
            found.labels[i, :k] = labels
        return found

    def inputs_for(
        self, case: Case, vector: Floats32, rows: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs for a list at one case, as on the device.

        vector: float32 [d], the user's vector at that moment; rows: best first.
        """
        past, now = self._moment(case)
        request = Request(past, now, vector[None], self.table[used_rows(self.spec, past)])
        with self._popularity_without(*case):
            return ranker_features(self.spec, self.items, request, rows, self.table[rows])

    def flat(self, slates: CandidateLists) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs with one row a place, [n * m, ...]."""
        n, m = slates.rows.shape
        rows = slates.rows.ravel()
        return {
            "user_vector": np.repeat(slates.user_vector, m, axis=0),
            "item_vectors": self.table[rows],
            "item_categories": self.items.categories[rows],
            "item_numeric": slates.numeric.reshape(n * m, -1),
            "context": np.repeat(slates.context, m, axis=0),
            "pair": slates.pair.reshape(n * m, -1),
        }

    def flat_one(self, slates: CandidateLists, at: int) -> dict[str, NDArray[Any]]:
        """Return one case's inputs as a device builds them, before padding."""
        inputs = self.flat(slates.take(np.array([at])))
        one_row = {name: inputs[name][:1] for name in ("user_vector", "context")}
        return {**inputs, **one_row}

    def _moment(self, case: Case) -> tuple[History, int]:
        """The history before a case, and its time in unix seconds."""
        user, end = case
        return self.data.history(user, end), int(self.data.ts[self.data.offsets[user] + end])

    def list_for(self, case: Case, vector: Floats32, *, repeats: bool) -> NDArray[np.int32]:
        """Return the rows that the ranker gets at one case, as on the device; int32 [<= B]."""
        past, now = self._moment(case)
        excluded = np.zeros(len(self.table), np.bool_)
        excluded[past.rows] = not repeats
        scores = self.table @ vector
        found = best_rows(np.where(excluded, -np.inf, scores), self.spec.candidates)
        votes = votes_of(self.items.neighbours, self.spec, past)
        extra = extra_candidates(self.spec, votes, past, now, excluded)
        rows = merged(extra, found, self.spec.candidates)
        return rows[np.lexsort((rows, -scores[rows]))]

    def _labels(self, case: Case, rows: NDArray[np.int32]) -> Floats32:
        wanted, gains = self._outcome(case)
        labels = np.zeros((len(rows), len(self.spec.heads)), np.float32)
        for row, gain in zip(wanted, gains, strict=True):
            labels[rows == row] = gain
        return labels

    def _outcome(self, case: Case) -> tuple[list[int], list[list[float]]]:
        """Rows of what the user did next, and its label for each head.

        A like counts only where there was an event at all, so that both heads are probabilities of
        the same occasion and their weighted sum orders by expected value.
        """
        user, end = case
        at, stop = int(self.data.offsets[user]) + end, int(self.data.offsets[user + 1])
        last = at + 1
        while self.baskets and last < stop and self.data.ts[last] == self.data.ts[at]:
            last += 1
        types = self.spec.event_types
        like = types.index("like") if "like" in types else -1
        rows = [int(row) for row in self.data.rows[at:last]]
        liked = [float(event == like) for event in self.data.events[at:last]]
        return rows, [[x if h == "like" else 1.0 for h in self.spec.heads] for x in liked]

    @contextmanager
    def _popularity_without(self, user: int, end: int) -> Iterator[None]:
        """Take the user's own events from `end` on out of the counts, then put them back.

        They are in there only if the ranker learns from events that the towers learned from too;
        counted, an item would betray by one event more that it is the answer.
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
    """Name each column of lists as "pair.times_had", and user vector and rows as a whole."""
    groups = {"context": spec.context, "numeric": spec.numeric, "pair": spec.pair}
    columns = [f"{group}.{name}" for group, given in groups.items() for name in given]
    return ["user_vector", "rows", *columns]
