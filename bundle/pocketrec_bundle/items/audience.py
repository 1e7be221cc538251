"""The audience of each item: the regions where it is offered, and its age rating.

Only filters of a request read it, never a model. A release has these files only if some item has a
region or a rating.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.columns import ArraySource, Coded, Column, column_files, open_column
from pocketrec_bundle.encoding.strict_json import MAX_TEXT, is_integer, is_text, refuse_newer, shown
from pocketrec_bundle.errors import BundleInvalidError, InputError

SINCE = 2
"""The format version from which a reader looks for the files."""
NAMES_FILE = "regions.json"
REGIONS, AGE_RATINGS = "items/regions", "items/age_rating"
MAX_AGE, UNRATED = 99, 255
MAX_REGIONS = 256

Bytes = NDArray[np.uint8]


class Source(ArraySource, Protocol):
    """Array and JSON files of a release, such as a `Bundle`."""

    def json(self, name: str) -> Any:
        """Return a JSON file, parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The audience of items before they are written, in any order of items.

    Attributes:
        regions: region names of each item; an empty tuple is everywhere.
        age_ratings: uint8 [N], minimum age in years; 255 is unrated.
    """

    regions: list[tuple[str, ...]]
    age_ratings: Bytes

    @classmethod
    def everyone(cls, n: int) -> "Audience":
        """Return the audience of n items without regions and age ratings."""
        return cls(regions=[()] * n, age_ratings=np.full(n, UNRATED, np.uint8))

    def says_something(self) -> bool:
        """Whether any item has regions or an age rating."""
        return any(self.regions) or bool((self.age_ratings != UNRATED).any())

    def pick(self, rows: NDArray[np.int64]) -> "Audience":
        """Return the audience of some items, in the order of `rows`."""
        regions = [self.regions[row] for row in rows.tolist()]
        return Audience(regions=regions, age_ratings=self.age_ratings[rows])

    def plus(self, others: "Audience") -> "Audience":
        """Return the audience of these items, followed by other items."""
        return Audience(
            regions=[*self.regions, *others.regions],
            age_ratings=np.concatenate([self.age_ratings, others.age_ratings]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAudience:
    """The audience of a release's items, by row.

    Attributes:
        region_names: the name of each bit of `regions`.
        regions: uint8 [N, bytes]; bit r % 8 (the lowest is 0) of byte r / 8 is region r. All bits
            0 is everywhere. None: the release has no regions.
        age_ratings: uint8 [N], see `Audience`. None: the release has no age ratings.
    """

    region_names: tuple[str, ...] = ()
    regions: Column | None = None
    age_ratings: Column | None = None

    def of_items(self, n: int) -> Audience:
        """Return it in the form that is written, for all n rows."""
        audience = Audience.everyone(n)
        if self.regions is not None:
            audience.regions[:] = self._names(self.regions)
        if self.age_ratings is not None:
            audience.age_ratings[:] = self.age_ratings[:]
        return audience

    def _names(self, column: Column) -> Iterator[tuple[str, ...]]:
        coded = column if isinstance(column, Coded) else Coded(np.arange(len(column)), column[:])
        bits = np.unpackbits(coded.values, axis=1, bitorder="little")[:, : len(self.region_names)]
        each = [tuple(self.region_names[region] for region in np.flatnonzero(row)) for row in bits]
        return (each[code] for code in coded.codes.tolist())


def open_audience(version: int, source: Source, n: int) -> OpenAudience:
    """Open and check the audience files; format versions before `SINCE` have none.

    Args:
        version: of the release's format.
        source: the release.
        n: items.

    Raises:
        BundleInvalidError: one does not fit.
    """
    if version < SINCE:
        return OpenAudience()
    names = _checked_names(source.json(NAMES_FILE)) if source.lists(NAMES_FILE) else ()
    regions = ratings = None
    if names:
        named = partial(_expect_named, n_names=len(names))
        regions = open_column(source, REGIONS, ("u1", (n, _width(names))), named)
    if source.lists(f"{AGE_RATINGS}.values"):
        ratings = open_column(source, AGE_RATINGS, ("u1", (n,)), lambda *_: None)
    return OpenAudience(region_names=names, regions=regions, age_ratings=ratings)


def audience_files(
    audience: Audience, base: OpenAudience, source: ArraySource | None
) -> tuple[bytes | None, dict[str, Array]]:
    """Return the JSON file, if items name regions, and the array files by name.

    Args:
        audience: in row order.
        base: the audience of the previous release; regions keep their bits, so that a delta stays
            small.
        source: the previous release's arrays.

    Raises:
        InputError: there are too many regions, or a name is too long.
    """
    arrays: dict[str, Array] = {}
    if (audience.age_ratings != UNRATED).any():
        arrays |= column_files(AGE_RATINGS, audience.age_ratings, source)
    used = {name for names in set(audience.regions) for name in names}
    if not used:
        return None, arrays
    names = (*base.region_names, *sorted(used - {*base.region_names}))
    if len(names) > MAX_REGIONS:
        names = tuple(sorted(used))
    if len(names) > MAX_REGIONS or not all(map(is_text, names)):
        raise InputError(
            f"items name {len(names)} regions, the longest {max(names, key=len)!r:.200}: a release "
            f"holds {MAX_REGIONS} of at most {MAX_TEXT} characters. Is columns.regions right?"
        )
    arrays |= column_files(REGIONS, _bits(audience.regions, names), source)
    return canonical_json({"version": 1, "names": names}), arrays


def _bits(regions: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> Bytes:
    bit_of = {name: place for place, name in enumerate(names)}
    code: dict[tuple[str, ...], int] = {}  # many items share their regions
    codes = [code.setdefault(each, len(code)) for each in regions]
    bits = np.zeros((len(code), 8 * _width(names)), np.uint8)
    for row, each in enumerate(code):
        bits[row, [bit_of[name] for name in each]] = 1
    return np.packbits(bits, axis=1, bitorder="little")[codes]


def _width(names: tuple[str, ...]) -> int:
    return -(-len(names) // 8)


def _expect_named(name: str, bits: Array, *, n_names: int) -> None:
    """Refuse a bit without a name: two readers could offer such an item to different people."""
    if n_names % 8 and (bits[:, -1] >> n_names % 8).any():
        raise BundleInvalidError(
            f"{name}: a bit is set for a region beyond the {n_names} named", code="region_bits"
        )


def _checked_names(value: object) -> tuple[str, ...]:
    refuse_newer(NAMES_FILE, value)
    if not isinstance(value, dict) or value.keys() != {"version", "names"}:
        raise BundleInvalidError(f"{NAMES_FILE}: keys differ from version 1", code="regions_keys")
    names = value["names"]
    if not is_integer(value["version"], 1, 1):
        raise BundleInvalidError(
            f"{NAMES_FILE}: version {shown(value['version'])} is not 1", code="regions_value"
        )
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_REGIONS:
        raise BundleInvalidError(
            f"{NAMES_FILE}: names must be a list of 1..{MAX_REGIONS}", code="regions_value"
        )
    if not all(map(is_text, names)) or len(set(names)) != len(names):
        raise BundleInvalidError(
            f"{NAMES_FILE}: names must be different short texts: {shown(names)}",
            code="regions_value",
        )
    return tuple(names)
