"""Declared features with what training learned of them: vocabularies and the edges of buckets."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.feature import MAX_BUCKETS, Feature, Kind, problems
from pocketrec_bundle.encoding.strict_json import is_number, shown
from pocketrec_bundle.floats import Floats32

FILE = "features.json"
MAX_WORD = 256
"""Characters of a name in a vocabulary."""
MAX_CHARACTERS = 10_000
"""Characters of a value of a `text` feature."""
UNKNOWN = 0
"""Code of a name that is missing, or neither in the vocabulary nor hashed."""


@dataclass(frozen=True, kw_only=True)
class FittedFeature:
    """One feature of a table, as models and devices compute it.

    Attributes:
        name: of the feature.
        feature: its declaration.
        names: the vocabulary of a category; a name's code is 1 + its place here.
        edges: rising edges of a number's bins, after clipping and logarithm; n + 1 for n bins.
    """

    name: str
    feature: Feature
    names: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def n_codes(self) -> int:
        """Number of codes above `UNKNOWN`: of the vocabulary, then of the hash buckets.

        Codes of a text are made from its words, see `pocketrec_training.towers.word_codes`.
        """
        return len(self.names) + self.feature.hash_buckets

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names, 1)}

    def code(self, name: str) -> int:
        """Return the code of a name, 0..n_codes.

        A name beyond the vocabulary gets 1 + len(names) + CRC-32 of its UTF-8 bytes modulo
        `hash_buckets`, which every platform computes alike.
        """
        if not name:
            return UNKNOWN
        known = self._code_of.get(name)
        if known is not None:
            return known
        buckets = self.feature.hash_buckets
        if not buckets:
            return UNKNOWN
        return 1 + len(self.names) + crc32(name.encode("utf-8", errors="surrogatepass")) % buckets

    def codes(self, rows: Iterable[Sequence[str]]) -> NDArray[np.int32]:
        """Return the codes of each row's names, int32 [n, `width`]; 0 is padding.

        A row keeps its first known names, each code once.
        """
        found = [self._row_codes(names) for names in rows]
        out = np.zeros((len(found), self.width), np.int32)
        for row, codes in enumerate(found):
            out[row, : len(codes)] = codes
        return out

    @property
    def width(self) -> int:
        """Codes of a row."""
        return self.feature.most if self.feature.kind == "categories" else 1

    def _row_codes(self, names: Sequence[str]) -> list[int]:
        codes = dict.fromkeys(code for name in names if (code := self.code(name)))
        return list(codes)[: self.width]

    def scaled(self, numbers: NDArray[Any]) -> Floats32:
        """Return numbers after clipping and logarithm, float32 [n]; NaN stays.

        With `log`, a number below 0 counts as 0.
        """
        values = np.asarray(numbers, np.float64)
        if self.feature.clip is not None:
            values = np.clip(values, *self.feature.clip)
        if self.feature.log:
            values = np.log1p(np.maximum(values, 0.0))
        return values.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedFeatures:
    """The declared features of each table, in the order of the models' inputs.

    A run has them as `features.json`. No release has the file yet (decision 0030).

    Attributes:
        items: of items.
        version: of the file.
    """

    items: tuple[FittedFeature, ...] = ()
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"version": self.version, "items": [_written(each) for each in self.items]}

    @classmethod
    def from_json(cls, value: object) -> "FittedFeatures":
        """Check and build features from parsed JSON.

        Raises:
            ValueError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        if not isinstance(value, dict) or value.keys() != {"version", "items"}:
            raise _invalid("keys differ from version 1")
        if value["version"] != 1 or not isinstance(value["items"], list):
            raise _invalid("version must be 1, and items a list")
        found = tuple(_read(each) for each in value["items"])
        table = {each.name: each.feature for each in found}
        if len(table) < len(found):
            raise _invalid("two features have one name")
        for key, sentence in problems(table):
            raise _invalid(f"{key}: {sentence}")
        return cls(items=found)


def _written(fitted: FittedFeature) -> dict[str, Any]:
    options = {k: v for k, v in asdict(fitted.feature).items() if k != "column"}
    if fitted.feature.clip is not None:
        options["clip"] = list(fitted.feature.clip)
    return {
        "name": fitted.name,
        **options,
        "names": list(fitted.names),
        "edges": list(fitted.edges),
    }


_INTEGERS = ("vocabulary", "hash_buckets", "most", "buckets", "length")
_OPTIONS = {each.name for each in fields(Feature)} - {"column"}


def _read(value: Any) -> FittedFeature:
    if not isinstance(value, dict) or value.keys() != _OPTIONS | {"name", "names", "edges"}:
        raise _invalid("a feature lacks keys or has unknown ones")
    name, names, edges = value["name"], value["names"], value["edges"]
    if not isinstance(name, str) or value["kind"] not in get_args(Kind):
        raise _invalid(f"{shown(name)}: bad name or kind")
    clip = value["clip"]
    is_clip = isinstance(clip, list) and len(clip) == 2 and all(map(is_number, clip))
    right = (
        type(value["log"]) is bool,
        type(value["ranker"]) is bool,
        clip is None or is_clip,
        value["missing"] is None or is_number(value["missing"]),
        *(type(value[key]) is int for key in _INTEGERS),
    )
    if not all(right):
        raise _invalid(f"{shown(name)}: an option has the wrong type")
    if (
        not isinstance(names, list)
        or len(names) > value["vocabulary"]
        or not all(isinstance(word, str) and 0 < len(word) <= MAX_WORD for word in names)
        or len(set(names)) < len(names)
    ):
        raise _invalid(f"{shown(name)}: names must be different texts, `vocabulary` at most")
    if (
        not isinstance(edges, list)
        or len(edges) > MAX_BUCKETS + 1
        or not all(map(is_number, edges))
        or not all(one < two for one, two in pairwise(edges))
    ):
        raise _invalid(f"{shown(name)}: edges must be rising numbers")
    options = {key: value[key] for key in _OPTIONS}
    options["clip"] = None if clip is None else tuple(clip)
    return FittedFeature(
        name=name, feature=Feature(**options), names=tuple(names), edges=tuple(edges)
    )


def _invalid(text: str) -> ValueError:
    return ValueError(f"{FILE}: {text}")
