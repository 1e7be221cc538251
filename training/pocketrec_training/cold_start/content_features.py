"""Content features of an item as a long sparse row: letters of its title, categories, year.

Letter groups find that "kneeling" is similar to "kneeler"; whole words would only differ. A row is
as long as the catalogue's vocabulary. So known and new items are encoded in one process, and rows
are not stored.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from pocketrec_training.data.dataset import Items


class ContentFeatures:
    """Tf-idf rows, one block for each kind of content, each block of length 1.

    Blocks: letter groups of 2 to 4 within the words of the title; categories; the year; pairs of
    category and year, since what sells is this year's action film. Weights by rarity are those of
    the items given first; what those never had adds nothing to a later item.
    """

    def __init__(self, items: Items) -> None:
        """Learn vocabulary and rarity from `items`; a kind of content that none has is left out."""
        self._blocks: list[tuple[Callable[[Items], list[list[str]]], TfidfVectorizer]] = []
        for read in (_letters, _categories, _years, _pairs):
            tokens = read(items)
            if any(tokens):
                tfidf = TfidfVectorizer(analyzer=_as_is, sublinear_tf=True, dtype=np.float32)
                self._blocks.append((read, tfidf.fit(tokens)))

    def __call__(self, items: Items) -> csr_matrix:
        """Encode items: float32 [n, features], sparse; one empty column where nothing is known."""
        if not self._blocks:
            return csr_matrix((len(items), 1), dtype=np.float32)
        return csr_matrix(hstack([tfidf.transform(read(items)) for read, tfidf in self._blocks]))


def _letters(items: Items) -> list[list[str]]:
    # A table without titles repeats the id there, and an id says nothing of a new item.
    pairs = zip(items.ids, items.titles, strict=True)
    return [[] if title == item_id else list(letter_groups(title)) for item_id, title in pairs]


def letter_groups(title: str) -> Iterable[str]:
    """Yield groups of 2 to 4 letters of each word, a blank before and after it.

    >>> list(letter_groups("Tea"))
    [' t', 'te', 'ea', 'a ', ' te', 'tea', 'ea ', ' tea', 'tea ']
    """
    for word in title.lower().split():
        yield from _word_groups(word)


@lru_cache(maxsize=1 << 16)  # titles share their words
def _word_groups(word: str) -> tuple[str, ...]:
    padded = f" {word} "
    return tuple(
        padded[at : at + size] for size in (2, 3, 4) for at in range(len(padded) - size + 1)
    )


def _categories(items: Items) -> list[list[str]]:
    return [list(names) for names in items.categories]


def _years(items: Items) -> list[list[str]]:
    return [[str(int(year))] if year >= 0 else [] for year in items.year]


def _pairs(items: Items) -> list[list[str]]:
    both = zip(_categories(items), _years(items), strict=True)
    return [[f"{name} {year}" for name in names for year in years] for names, years in both]


def _as_is(tokens: list[str]) -> list[str]:
    return tokens
