"""When two titles say the same."""

import unicodedata

LONGEST = 200
"""Letters of a title that count."""


def same_words(title: str) -> str:
    """Return a title's words without case, accents, punctuation and order.

    "Matrix, The" and "The Matrix" are one, "Alien" and "Aliens" two; a title without a letter or
    digit gives "", which matches nothing. Only the first `LONGEST` letters count.
    """
    letters = unicodedata.normalize("NFKD", title[:LONGEST].casefold())
    kept = (c if c.isalnum() else " " for c in letters if not unicodedata.combining(c))
    return " ".join(sorted("".join(kept).split()))
