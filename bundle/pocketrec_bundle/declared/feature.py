"""The declaration of one feature. A recipe reads it, and all other rooms follow it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, matches, shown
from pocketrec_bundle.features import (
    CONTEXT,
    MAX_VOCABULARY,
    NEIGHBOUR_PAIR,
    NUMERIC,
    PAIR,
    REPEAT_PAIR,
)

Kind = Literal["category", "categories", "number", "flag", "text", "vector"]

MAX_FEATURES = 64
"""Features of one table."""
MAX_BUCKETS = 256
MAX_LENGTH = 4096
"""Numbers of a vector."""
MAX_NAMES = 64
"""Names that a row of a `categories` feature may keep."""
MAX_EMBEDDING = 64
MAX_RANKER_LENGTH = 2048
"""Numbers of all vectors that a ranker reads, and codes of a row; an input stays below 64 MiB."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_BUILT_IN = (*NUMERIC, *CONTEXT, *PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR)
_RESERVED = frozenset((*_BUILT_IN, "title", "categories", "regions", "age_rating"))
"""Names of built-in columns; `popularity_7_days` and the like are reserved too."""
_OF_KINDS = {
    "vocabulary": ("category", "categories"),
    "hash_buckets": ("category", "categories", "text"),
    "most": ("categories",),
    "log": ("number",),
    "clip": ("number",),
    "buckets": ("number",),
    "missing": ("number", "flag"),
    "length": ("vector",),
    "embedding": ("category", "categories", "vector"),
    "ranker": ("category", "categories", "number", "flag", "vector"),
}
"""Option -> the kinds that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One declared feature.

    Attributes:
        kind: "category": one name; "categories": a list of names; "number"; "flag": yes or no;
            "text": words of a title or description; "vector": `length` numbers.
        column: of the source's table; empty: the feature's name. Not a part of a release.
        vocabulary: the most frequent names that get a code of their own.
        hash_buckets: codes that the other names share; 0: they are unknown. Of a text: codes of its
            words and pairs of neighbouring words, at least 1.
        most: names that a row keeps, the first ones.
        log: take log(1 + number); for numbers of at least 0.
        clip: (smallest, largest) number; others are brought to the nearer one.
        buckets: bins of the number in the models, by quantiles.
        missing: number that the tables have in place of a missing one; None: unknown, which adds
            nothing.
        length: numbers of the vector.
        embedding: numbers that the ranker learns for a name, or makes of a vector.
        ranker: whether the release has the feature, for the ranker on the phone. Numbers of at
            least 0 and flags are numeric columns, which filters and rules read too; all other
            features need bundle format 3.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    kind: Kind
    column: str = ""
    vocabulary: int = 1000
    hash_buckets: int = 0
    most: int = 8
    log: bool = False
    clip: tuple[float, float] | None = None
    buckets: int = 16
    missing: float | None = None
    length: int = 0
    embedding: int = 8
    ranker: bool = False


def problems(features: Mapping[str, Feature]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the features of one table, as (key, sentence).

    Args:
        features: by name; the types of their options are right.
    """
    if len(features) > MAX_FEATURES:
        yield "", f"{len(features)} features, and at most {MAX_FEATURES} are allowed. Remove some."
    for name, feature in features.items():
        if not matches(_NAME, name):
            yield (
                name,
                "a name has 1 to 40 of a-z, 0-9 and _, and begins with a letter. Rename the "
                'feature; its option "column" names the source\'s column.',
            )
        elif name in _RESERVED or name.startswith(("popularity", "recent_")):
            yield name, "the name of a built-in column. Choose another one."
        for option, sentence in _wrong_options(feature):
            yield f"{name}.{option}", sentence
    read = [one for one in features.values() if one.ranker]
    lengths = {
        "length": sum(one.length for one in read if is_integer(one.length, 1, MAX_LENGTH)),
        "most": sum(one.most for one in read if one.kind == "categories"),
    }
    for option, total in lengths.items():
        if total > MAX_RANKER_LENGTH:
            yield (
                "",
                f"{option}: {total} in all features with ranker = true, and a ranker reads at most "
                f"{MAX_RANKER_LENGTH}. Remove ranker = true from some.",
            )


def _wrong_options(feature: Feature) -> Iterator[tuple[str, str]]:
    kind, usual = feature.kind, {each.name: each.default for each in fields(Feature)}
    for option, kinds in _OF_KINDS.items():
        if kind not in kinds and getattr(feature, option) != usual[option]:
            yield option, f'a "{kind}" has no {option}, only {" and ".join(kinds)}. Remove it.'
    bounds = {
        "vocabulary": (0, MAX_VOCABULARY),
        "hash_buckets": (1 if kind == "text" else 0, MAX_VOCABULARY),
        "most": (1, MAX_NAMES),
        "buckets": (1, MAX_BUCKETS),
        "length": (0 if kind != "vector" else 1, MAX_LENGTH),
        "embedding": (1, MAX_EMBEDDING),
    }
    for option, (low, high) in bounds.items():
        value = getattr(feature, option)
        if not is_integer(value, low, high):
            yield option, f"must be an integer {low}..{high} (found {shown(value)})"
    if kind in ("category", "categories") and not feature.vocabulary + feature.hash_buckets:
        yield "vocabulary", "0 without hash_buckets leaves no name a code. Set one of them."
    if kind != "text" and feature.vocabulary + feature.hash_buckets > MAX_VOCABULARY:
        yield "hash_buckets", f"vocabulary + hash_buckets must not exceed {MAX_VOCABULARY}"
    if feature.clip is not None:
        smallest, largest = feature.clip
        if not (is_number(smallest) and is_number(largest) and smallest < largest):
            yield "clip", f"must be two finite numbers, the smaller first (found {feature.clip})"
        elif feature.log and smallest < 0:
            yield "clip", f"begins at {smallest}, but log needs numbers of at least 0"
    if feature.missing is not None and not is_number(feature.missing):
        yield "missing", f"must be a finite number (found {feature.missing})"
    if kind == "flag" and feature.missing not in (None, 0, 1):
        yield "missing", f"of a flag must be 0 or 1 (found {feature.missing})"
