"""The peer for new items: tf-idf similarity of titles to what the user took before.

A small set of variants; which one stands as the baseline is chosen on an earlier cut.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.support.cold_start.split import ColdSplit
from pocketrec_training.data.dataset import Items

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
    """Words and pairs, or letter 3- to 5-grams; of titles, or of titles and categories."""

    analyser: str
    categories: bool
    pooling: str

    def __str__(self) -> str:
        text = "title and categories" if self.categories else "title"
        return f"tf-idf of {text}, {self.analyser}, {self.pooling}"


def variants(items: Items) -> list[Variant]:
    """List the variants that make sense for a catalogue."""
    texts = (False, True) if any(items.categories) else (False,)
    return [Variant(*each) for each in itertools.product(ANALYSERS, texts, POOLINGS)]


def scores(case: ColdSplit, variant: Variant) -> Scores:
    """Score all new items for each user who took one, float32 [takers, new items]."""
    known, new = (_texts(items, variant) for items in (case.known.items, case.new))
    tfidf = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **ANALYSERS[variant.analyser])
    before = csr_matrix(tfidf.fit_transform(known))  # [n, words], rows of length 1
    after = csr_matrix(tfidf.transform(new))
    if variant.pooling in ("mean", "recent"):
        # A sum of cosines is the cosine with a sum, so one sparse product serves all users.
        profiles = _weights(case, variant.pooling) @ before
        return np.asarray((profiles @ after.T).toarray(), np.float32)
    cosine = np.asarray((before @ after.T).toarray(), np.float32)  # [n, m]
    k = 1 if variant.pooling == "nearest" else NEAREST
    return np.stack([_nearest(cosine[rows], k) for rows in _histories(case)])


def _texts(items: Items, variant: Variant) -> list[str]:
    if not variant.categories:
        return items.titles
    pairs = zip(items.titles, items.categories, strict=True)
    return [" ".join([title, *categories]) for title, categories in pairs]


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
