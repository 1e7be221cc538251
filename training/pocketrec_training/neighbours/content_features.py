"""Content features of an item as a long sparse row: letters of its title, categories, year, more.

Letter groups find that "kneeling" is similar to "kneeler"; whole words would only differ. A row is
as long as the catalogue's vocabulary. So known and new items are encoded in one process, and rows
are not stored.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from pocketrec_bundle.declared import FittedFeature, FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import names_of
from pocketrec_training.towers.feature_inputs import NO_FEATURES

_LEAST = 1e-12

Tokens = list[list[str]]


class ContentFeatures:
    """Rows of features, one block for each kind of content, each block of length 1.

    Blocks of tf-idf: letter groups of 2 to 4 within the words of the title, and of each declared
    text; categories; the year; pairs of category and year, since what sells is this year's action
    film; the names of each declared category. A declared vector is a block of its numbers, less
    their mean: vectors of encoders share a direction that tells no item from another. Numbers and
    flags are no block, because items of one price are not similar. The item tower reads them.

    Weights by rarity and means are those of the items given first; what those never had adds
    nothing to a later item.
    """

    def __init__(self, items: Items, declared: FittedFeatures = NO_FEATURES) -> None:
        """Learn vocabulary and rarity from `items`; a kind of content that none has is left out.

        Args:
            items: known items.
            declared: their declared features.
        """
        self._blocks: list[Callable[[Items], csr_matrix]] = []
        for read in (_letters, _categories, _years, _pairs, *_named(declared)):
            tokens = read(items)
            if any(tokens):
                tfidf = TfidfVectorizer(analyzer=_as_is, sublinear_tf=True, dtype=np.float32)
                self._blocks.append(partial(_weighed, read, tfidf.fit(tokens)))
        for one in declared.items:
            if one.feature.kind == "vector" and one.name in items.features:
                mean = mean_of_known(items.features[one.name])
                self._blocks.append(partial(_centred, one.name, mean))

    def __call__(self, items: Items) -> csr_matrix:
        """Encode items: float32 [n, features], sparse; one empty column where nothing is known."""
        if not self._blocks:
            return csr_matrix((len(items), 1), dtype=np.float32)
        return csr_matrix(hstack([block(items) for block in self._blocks]))


def _weighed(read: Callable[[Items], Tokens], tfidf: TfidfVectorizer, items: Items) -> csr_matrix:
    return tfidf.transform(read(items))


def mean_of_known(values: Floats32) -> Floats32:
    """Return the mean of the known vectors, float32 [length]; zeros if none is known.

    values: float32 [n, length], NaN = unknown.
    """
    known = values[~np.isnan(values).any(axis=1)]
    return np.asarray(known.sum(axis=0) / max(len(known), 1), np.float32)


def unit_rows(values: Floats32, mean: Floats32) -> csr_matrix:
    """Return vectors less `mean`, brought to length 1; an unknown one (NaN) is 0.

    Args:
        values: float32 [n, length].
        mean: float32 [length].
    """
    centred = np.nan_to_num(values - mean, nan=0.0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return csr_matrix((centred / np.maximum(lengths, _LEAST)).astype(np.float32))


def _centred(name: str, mean: Floats32, items: Items) -> csr_matrix:
    values = items.features.get(name)
    if values is None:
        return csr_matrix((len(items), len(mean)), dtype=np.float32)
    return unit_rows(values, mean)


def _named(declared: FittedFeatures) -> list[Callable[[Items], Tokens]]:
    """Return readers of the tokens of declared texts and categories."""
    kinds = ("category", "categories", "text")
    return [partial(_tokens_of, one) for one in declared.items if one.feature.kind in kinds]


def _tokens_of(fitted: FittedFeature, items: Items) -> Tokens:
    values = items.features.get(fitted.name)
    if values is None:
        return [[] for _ in items.ids]
    if fitted.feature.kind == "text":
        return [list(letter_groups(text)) for text in values]
    return [list(names) for names in names_of(fitted.feature, values)]


def _letters(items: Items) -> Tokens:
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


def _categories(items: Items) -> Tokens:
    return [list(names) for names in items.categories]


def _years(items: Items) -> Tokens:
    return [[str(int(year))] if year >= 0 else [] for year in items.year]


def _pairs(items: Items) -> Tokens:
    both = zip(_categories(items), _years(items), strict=True)
    return [[f"{name} {year}" for name in names for year in years] for names, years in both]


def _as_is(tokens: list[str]) -> list[str]:
    return tokens
