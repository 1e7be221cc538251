"""Declared features with what training learned of them: vocabularies and the edges of buckets."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.feature import MAX_BUCKETS, MAX_FEATURES, Feature, Kind, problems
from pocketrec_bundle.encoding.bit_records import MAX_BITS
from pocketrec_bundle.encoding.strict_json import is_integer, is_number, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
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

    A run has all of them as `features.json`, a release of format 3 those that its device reads.

    Attributes:
        items: of items.
        record: bits of the field of each item feature in `items/features`; 0: it has no field.
            Empty in a run.
        version: of the file.
    """

    items: tuple[FittedFeature, ...] = ()
    record: tuple[int, ...] = ()
    version: int = 1

    def for_ranker(self, numeric: Collection[str]) -> "FittedFeatures":
        """Return the features that the ranker reads beside the columns `numeric` of the spec."""
        read = (one for one in self.items if one.feature.ranker and one.name not in numeric)
        return FittedFeatures(items=tuple(read))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "version": self.version,
            "items": [_written(each) for each in self.items],
            "profile": [],
            "request": [],
            "record": list(self.record),
        }

    @classmethod
    def from_json(cls, value: object) -> "FittedFeatures":
        """Check and build features from parsed JSON.

        Raises:
            BundleTooNewError: a later version, or a feature that this app does not know.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        refuse_newer(FILE, value)
        if not isinstance(value, dict) or value.keys() != _KEYS:
            raise BundleInvalidError(f"{FILE}: keys differ from version 1", code="features_keys")
        if not is_integer(value["version"], 1, 1):
            raise _invalid(f"version {shown(value['version'])} is not 1")
        for key in ("items", "profile", "request", "record"):
            if not isinstance(value[key], list) or len(value[key]) > MAX_FEATURES:
                raise _invalid(f"{key} must be a list of at most {MAX_FEATURES}")
        if value["profile"] or value["request"]:
            raise BundleTooNewError(
                f"{FILE}: has features of users or requests, which this app does not know. "
                "Update the app."
            )
        found = tuple(_read(each) for each in value["items"])
        table = {each.name: each.feature for each in found}
        if len(table) < len(found):
            raise _invalid("two features have one name")
        for key, sentence in problems(table):
            raise _invalid(f"{key}: {sentence}")
        record = value["record"]
        if not all(is_integer(bits, 0, MAX_BITS) for bits in record):
            raise _invalid(f"record must hold integers 0..{MAX_BITS}")
        return cls(items=found, record=tuple(record))


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


_KEYS = {"version", "items", "profile", "request", "record"}
_INTEGERS = ("vocabulary", "hash_buckets", "most", "buckets", "length", "embedding")
_OPTIONS = {each.name for each in fields(Feature)} - {"column"}


def _read(value: Any) -> FittedFeature:
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind not in get_args(Kind):  # it may have keys of its own
        raise BundleTooNewError(f"{FILE}: unknown kind {shown(kind)}. Update the app.")
    if not isinstance(value, dict) or value.keys() != _OPTIONS | {"name", "names", "edges"}:
        raise BundleInvalidError(
            f"{FILE}: a feature lacks keys or has unknown ones", code="features_keys"
        )
    name, names, edges = value["name"], value["names"], value["edges"]
    if not isinstance(name, str) or kind is None:
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


def _invalid(text: str) -> BundleInvalidError:
    return BundleInvalidError(f"{FILE}: {text}", code="features_value")
