"""Hash words and pairs of neighbouring words of titles and descriptions."""

import itertools
import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    ["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"]
)


def n_tokens(words: int) -> int:
    """Return the maximum number of tokens of a text: its first words and their pairs."""
    return 2 * words - 1


def word_codes(text: str, buckets: int, words: int) -> list[int]:
    """Hash the first words of a text and each pair of neighbours, 1..buckets.

    CRC-32 gives the same bucket on every machine, unlike Python's `hash`. Punctuation, case and
    stop words are dropped, so "Toy Story (1995)" holds toy, story, 1995, toy story and
    story 1995.

    Args:
        text: a title or a description.
        buckets: number of codes.
        words: words that count, the first ones.
    """
    found = (word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)
    kept = list(itertools.islice(found, words))
    pairs = [f"{one} {two}" for one, two in itertools.pairwise(kept)]
    return [crc32(token.encode()) % buckets + 1 for token in [*kept, *pairs]]


def padded_codes(texts: Sequence[str], buckets: int, words: int) -> NDArray[np.int32]:
    """Return the codes of each text, int32 [n, n_tokens(words)]; 0 is padding."""
    tokens = np.zeros((len(texts), n_tokens(words)), np.int32)
    for row, text in enumerate(texts):
        codes = word_codes(text, buckets, words)
        tokens[row, : len(codes)] = codes
    return tokens
