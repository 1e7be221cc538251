"""Declared features of a release's items: their files, and the ranker's inputs of some rows.

Training, export and devices read them through this one class, also before there are files. So the
inputs of a list are the same everywhere.

FORMAT.md, "Item features": a field of `items/features` has the code of a name or the place of a
value in a table; a number that seldom repeats and a vector have a file of their own.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.encoded import Encoded, is_coded, is_number_like
from pocketrec_bundle.declared.fitted import FittedFeature, FittedFeatures
from pocketrec_bundle.encoding.array_checks import expect_below, expect_finite, expect_form
from pocketrec_bundle.encoding.bit_records import (
    BitField,
    expect_fields_below,
    fields_of,
    record_bytes,
)
from pocketrec_bundle.encoding.columns import ArraySource, Column, open_column
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.floats import Floats32

RECORDS = "items/features"
INPUTS = ("item_codes", "item_numbers", "item_embeddings")


def file_of(place: int, part: str) -> str:
    """Return the name of a file of item feature `place`, such as "items/feature.3.values"."""
    return f"items/feature.{place}.{part}"


@dataclass(frozen=True, slots=True)
class Table:
    """The values that a field, or the row itself, points at.

    Attributes:
        values: uint16 [S, width] or float32 [S].
        known: bool [S] of numbers; None: all are known.
    """

    values: NDArray[Any]
    known: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A feature with its files.

    Attributes:
        fitted: the feature.
        fields: of the record; several for the codes of a row without a table, none without a field.
        table: None for codes without a table, and for vectors.
        rows: int8 [N, length] of a vector.
        scales: float32 [N] of a vector.
    """

    fitted: FittedFeature
    fields: tuple[BitField, ...] = ()
    table: Table | None = None
    rows: NDArray[np.int8] | None = None
    scales: Column | None = None


class ItemFeatures:
    """The item features of a release that the ranker reads."""

    def __init__(
        self, features: FittedFeatures, placed: tuple[Placed, ...], records: NDArray[np.uint8]
    ) -> None:
        """Keep opened features; `open_item_features` checks the files.

        Args:
            features: of the release.
            placed: each item feature.
            records: uint8 [N, R]; R = 0 without fields.
        """
        self.features, self._placed, self._records = features, placed, records

    def inputs(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the ranker's inputs of some items; an input without a column is not there.

        Args:
            rows: integer [n].

        Returns:
            item_codes: int32 [n, codes]; of a list of names its codes, then 0.
            item_numbers: float32 [n, 2 * numbers]; all numbers and flags, then whether each is
                known (1 or 0). An unknown number is 0.
            item_embeddings: float32 [n, lengths of the vectors].
        """
        columns = np.ascontiguousarray(self._records[rows].T)  # [R, n]
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in INPUTS}
        all_known: list[NDArray[Any]] = []
        for one in self._placed:
            feature = one.fitted.feature
            if is_coded(feature):
                parts["item_codes"].append(_codes(one, columns, rows))
            elif is_number_like(feature):
                numbers, known = _number(one, columns, rows)
                parts["item_numbers"].append(numbers)
                all_known.append(known)
            else:
                assert one.rows is not None and one.scales is not None
                scales: Floats32 = one.scales[rows]
                parts["item_embeddings"].append(one.rows[rows] * scales[:, None])
        parts["item_numbers"] += all_known
        return {
            name: np.concatenate(found, axis=1, dtype=np.int32 if name == INPUTS[0] else np.float32)
            for name, found in parts.items()
            if found
        }

    def encoded(self) -> dict[str, Encoded]:
        """Return all values by name, in the form that is written; for a catalogue release."""
        n = self.n_items
        rows = np.arange(n)
        columns = np.ascontiguousarray(self._records.T)
        found = {}
        for one in self._placed:
            feature, name = one.fitted.feature, one.fitted.name
            if is_coded(feature):
                found[name] = Encoded(_codes(one, columns, rows).astype(np.int32))
            elif is_number_like(feature):
                numbers, known = _number(one, columns, rows)
                values = np.where(known > 0, numbers, np.float32(np.nan))[:, 0]
                found[name] = Encoded(values)
            else:
                assert one.rows is not None and one.scales is not None
                found[name] = Encoded(np.asarray(one.rows), np.asarray(one.scales[rows]))
        return found

    @property
    def n_items(self) -> int:
        """Number of items, N."""
        return len(self._records)


def column_names(features: FittedFeatures) -> dict[str, list[str]]:
    """Return the feature of each column of each input of `INPUTS`."""
    found: dict[str, list[str]] = {name: [] for name in INPUTS}
    for one in features.items:
        if is_coded(one.feature):
            found["item_codes"] += [one.name] * one.width
        elif is_number_like(one.feature):
            found["item_numbers"].append(one.name)
        else:
            found["item_embeddings"] += [one.name] * one.feature.length
    found["item_numbers"] *= 2  # the numbers, then whether they are known
    return found


def input_widths(features: FittedFeatures) -> dict[str, int]:
    """Return the columns of each input that has some."""
    return {name: len(names) for name, names in column_names(features).items() if names}


def _places(one: Placed, columns: NDArray[np.uint8], rows: NDArray[Any]) -> NDArray[Any]:
    """Return each row's place in the table, integer [n]."""
    if one.fields:
        return one.fields[0].of(columns)
    assert one.table is not None
    return np.zeros(len(rows), np.int64) if len(one.table.values) == 1 else rows


def _codes(one: Placed, columns: NDArray[np.uint8], rows: NDArray[Any]) -> NDArray[Any]:
    if one.table is None:
        return np.stack([field.of(columns) for field in one.fields], axis=1)
    return np.asarray(one.table.values[_places(one, columns, rows)])


def _number(one: Placed, columns: NDArray[np.uint8], rows: NDArray[Any]) -> list[Floats32]:
    """Return numbers float32 [n, 1], 0 where unknown, and whether they are known."""
    assert one.table is not None
    places = _places(one, columns, rows)
    values: Floats32 = one.table.values[places][:, None]
    if one.table.known is None:
        return [values, np.ones_like(values)]
    known = one.table.known[places][:, None].astype(np.float32)
    return [np.where(known > 0, values, np.float32(0.0)), known]


def open_item_features(features: FittedFeatures, source: ArraySource, n: int) -> ItemFeatures:
    """Open and check the files of item features, memory-mapped.

    Args:
        features: of the release, checked.
        source: its array files.
        n: number of items.

    Raises:
        BundleInvalidError: a file is missing or does not fit.
    """
    bits = features.record
    if len(bits) != len(features.items):
        raise BundleInvalidError(
            f"features.json: record has {len(bits)} sizes for {len(features.items)} features",
            code="features_value",
        )
    sizes, found, limits = _field_sizes(features, source), [], []
    fields = iter(fields_of(sizes))
    for place, fitted in enumerate(features.items):
        one = _open(place, fitted, bits[place], source, n)
        own = tuple(next(fields) for _ in range(_n_fields(place, fitted, bits[place], source)))
        found.append(replace(one, fields=own))
        top = fitted.n_codes + 1 if one.table is None else len(one.table.values)
        limits += [(fitted.name, field, top) for field in own]
    if sizes:
        records = source.array(RECORDS)
        expect_form(RECORDS, records, "u1", (n, record_bytes(sizes)))
        expect_fields_below(RECORDS, records, limits)
    else:
        records = np.zeros((n, 0), np.uint8)
    return ItemFeatures(features, tuple(found), records)


def _n_fields(place: int, fitted: FittedFeature, bits: int, source: ArraySource) -> int:
    if not bits:
        return 0
    return 1 if source.lists(file_of(place, "values")) else fitted.width


def _field_sizes(features: FittedFeatures, source: ArraySource) -> list[int]:
    """Return the bits of every field of a record, in its order."""
    return [
        bits
        for place, (fitted, bits) in enumerate(zip(features.items, features.record, strict=True))
        for _ in range(_n_fields(place, fitted, bits, source))
    ]


def _open(place: int, fitted: FittedFeature, bits: int, source: ArraySource, n: int) -> Placed:
    """Open the files of one feature; the caller adds its fields."""
    feature, values_file = fitted.feature, file_of(place, "values")
    if feature.kind == "vector":
        if bits:
            raise BundleInvalidError(
                f"features.json: {fitted.name}: a vector has no field", code="features_value"
            )
        rows, scales = file_of(place, "rows"), file_of(place, "scales")
        expect_form(rows, source.array(rows), "i1", (n, feature.length))
        column = open_column(source, scales, ("f4", (n,)), expect_finite)
        return Placed(fitted, rows=source.array(rows), scales=column)
    if is_coded(feature) and bits and not source.lists(values_file):
        return Placed(fitted)
    values = source.array(values_file)
    size = len(values) if bits or values.shape[:1] == (1,) else n
    if is_coded(feature):
        expect_form(values_file, values, "u2", (size, fitted.width))
        expect_below(values_file, values, fitted.n_codes + 1)
        return Placed(fitted, table=Table(values))
    expect_form(values_file, values, "f4", (size,))
    expect_finite(values_file, values)
    known_file, known = file_of(place, "known"), None
    if source.lists(known_file):
        packed = source.array(known_file)
        expect_form(known_file, packed, "u1", (-(-size // 8),))
        known = np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)
    return Placed(fitted, table=Table(values, known))
