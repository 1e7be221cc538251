"""The peer for new items: similarity of titles, texts and vectors to what the user took before.

The peer gets the content that the model gets: declared texts join the title, declared categories
join the categories, and declared vectors, less their mean, add their cosine. A small set of
variants; which one stands as the baseline is chosen on an earlier cut.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.support.cold_start.split import ColdSplit
from pocketrec_bundle.declared import FittedFeatures
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import names_of
from pocketrec_training.neighbours.content_features import mean_of_known, unit_rows
from pocketrec_training.towers.feature_inputs import NO_FEATURES

Scores = NDArray[np.float32]
HALF_LIFE = 20  # events, for "recent"
NEAREST = 5

ANALYSERS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2)},
    "letters": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}
POOLINGS = ("mean", "recent", "nearest", "nearest 5")


@dataclass(frozen=True, slots=True)
class Variant:
    """Words and pairs, or letter 3- to 5-grams; of titles and texts, with or without categories.

    vectors: "" without them, "and" beside tf-idf, "alone".
    """

    analyser: str
    categories: bool
    pooling: str
    vectors: str = ""

    def __str__(self) -> str:
        text = "title and categories" if self.categories else "title"
        if self.vectors == "alone":
            return f"cosine of vectors, {self.pooling}"
        more = " and vectors" if self.vectors else ""
        return f"tf-idf of {text}, {self.analyser}{more}, {self.pooling}"


def variants(items: Items, declared: FittedFeatures = NO_FEATURES) -> list[Variant]:
    """List the variants that make sense for a catalogue and its declared features."""
    kinds = {one.feature.kind for one in declared.items}
    has_names = any(items.categories) or kinds & {"category", "categories"}
    texts = (False, True) if has_names else (False,)
    found = [Variant(*each) for each in itertools.product(ANALYSERS, texts, POOLINGS)]
    if "vector" in kinds:
        found += [replace(each, vectors="and") for each in found]
        found += [Variant("words", False, pooling, "alone") for pooling in POOLINGS]
    return found


def scores(case: ColdSplit, variant: Variant, declared: FittedFeatures = NO_FEATURES) -> Scores:
    """Score all new items for each user who took one, float32 [takers, new items]."""
    before, after = _features(case, variant, declared)
    if variant.pooling in ("mean", "recent"):
        # A sum of cosines is the cosine with a sum, so one sparse product serves all users.
        profiles = _weights(case, variant.pooling) @ before
        return np.asarray((profiles @ after.T).toarray(), np.float32)
    cosine = np.asarray((before @ after.T).toarray(), np.float32)  # [n, m]
    k = 1 if variant.pooling == "nearest" else NEAREST
    return np.stack([_nearest(cosine[rows], k) for rows in _histories(case)])


def _features(
    case: ColdSplit, variant: Variant, declared: FittedFeatures
) -> tuple[csr_matrix, csr_matrix]:
    """Return rows of known and of new items, [n, features]; each kind has length 1."""
    known, new = case.known.items, case.new
    before, after = [], []
    if variant.vectors != "alone":
        analyser = ANALYSERS[variant.analyser]
        tfidf = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **analyser)
        before.append(tfidf.fit_transform(_texts(known, variant, declared)))
        after.append(tfidf.transform(_texts(new, variant, declared)))
    if variant.vectors:
        for one in declared.items:
            if one.feature.kind == "vector":
                values, fresh = known.features[one.name], new.features[one.name]
                mean = mean_of_known(values)
                before.append(unit_rows(values, mean))
                after.append(unit_rows(fresh, mean))
    return csr_matrix(hstack(before)), csr_matrix(hstack(after))


def _texts(items: Items, variant: Variant, declared: FittedFeatures) -> list[str]:
    rows = [[title] for title in items.titles]
    for one in declared.items:
        values = items.features[one.name]
        if one.feature.kind == "text":
            rows = [[*row, text] for row, text in zip(rows, values, strict=True)]
        if variant.categories and one.feature.kind in ("category", "categories"):
            names = names_of(one.feature, values)
            rows = [[*row, *each] for row, each in zip(rows, names, strict=True)]
    if variant.categories:
        rows = [[*row, *names] for row, names in zip(rows, items.categories, strict=True)]
    return [" ".join(row) for row in rows]


def _histories(case: ColdSplit) -> Iterator[NDArray[np.int32]]:
    return (case.known.history(int(user)).rows for user in case.users[case.takers])


def _weights(case: ColdSplit, pooling: str) -> csr_matrix:
    """Weight of each past event of each taker: float32 [takers, n]."""
    rows, columns, values = [], [], []
    for at, past in enumerate(_histories(case)):
        age = np.arange(len(past), dtype=np.float32)[::-1]
        weight = np.ones(len(past)) if pooling == "mean" else 0.5 ** (age / HALF_LIFE)
        rows.append(np.full(len(past), at))
        columns.append(past)
        values.append(weight)
    shape = (len(case.takers), len(case.known.items))
    places = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(values).astype(np.float32), places), shape)


def _nearest(cosine: Scores, k: int) -> Scores:
    """Mean of the k largest cosines of each column, [m]; fewer where the history is shorter."""
    k = min(k, len(cosine))
    return np.asarray(np.partition(cosine, len(cosine) - k, axis=0)[-k:].mean(axis=0), np.float32)
