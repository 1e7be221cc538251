"""Write item features: the smallest form of each column, and all fields in one record a row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.encoded import Encoded, EncodedFeatures, is_coded
from pocketrec_bundle.declared.fitted import FittedFeature, FittedFeatures
from pocketrec_bundle.declared.item_features import (
    RECORDS,
    ItemFeatures,
    file_of,
    open_item_features,
)
from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.bit_records import MAX_BITS, bits_for, records
from pocketrec_bundle.encoding.columns import ArraySource, coded, column_files


@dataclass(frozen=True, slots=True)
class _Form:
    """A feature as files: arrays by part of the name, and the columns of its fields.

    Attributes:
        arrays: such as "values".
        columns: of unsigned integers [N], one a field.
        bits: of each of these fields; 0 without fields.
    """

    arrays: dict[str, Array]
    columns: list[NDArray[Any]]
    bits: int = 0

    def n_bytes(self, n: int) -> float:
        return sum(one.nbytes for one in self.arrays.values()) + n * self.bits * (
            len(self.columns) / 8
        )


def feature_files(
    features: FittedFeatures, encoded: EncodedFeatures, base: ArraySource | None = None
) -> tuple[FittedFeatures, dict[str, Array]]:
    """Return the features with the sizes of their fields, and the array files by name.

    Args:
        features: that the release has.
        encoded: values of all items by name, in row order.
        base: the previous release, if it has the same features: tables extend its tables, so that a
            delta stays small.
    """
    arrays: dict[str, Array] = {}
    columns: list[NDArray[Any]] = []
    sizes: list[int] = []
    record = []
    for place, fitted in enumerate(features.items):
        form = _form(place, fitted, encoded[fitted.name], base)
        arrays |= {file_of(place, part): array for part, array in form.arrays.items()}
        columns += form.columns
        sizes += [form.bits] * len(form.columns)
        record.append(form.bits)
    if sizes:
        arrays[RECORDS] = records(columns, sizes)
    return replace(features, record=tuple(record)), arrays


def _form(place: int, fitted: FittedFeature, encoded: Encoded, base: ArraySource | None) -> _Form:
    if encoded.scales is not None:
        columns = column_files(file_of(place, "scales"), encoded.scales, base)
        scales = {name.removeprefix(file_of(place, "")): one for name, one in columns.items()}
        return _Form({"rows": encoded.values, **scales}, [])
    if is_coded(fitted.feature):
        forms = [_direct(fitted, encoded), _codes_by_table(place, encoded, base)]
    else:
        forms = [_by_row(encoded), _numbers_by_table(place, encoded, base)]
    n = len(encoded.values)
    return min((one for one in forms if one is not None), key=lambda one: one.n_bytes(n))


def _direct(fitted: FittedFeature, encoded: Encoded) -> _Form | None:
    """Codes themselves as fields."""
    bits = bits_for(fitted.n_codes + 1)
    return _Form({}, [*encoded.values.T], bits) if bits else None


def _codes_by_table(place: int, encoded: Encoded, base: ArraySource | None) -> _Form | None:
    found = coded(encoded.values.astype(np.uint16), _table(place, base))
    return _placed({"values": found.values}, found.codes, len(found.values))


def _by_row(encoded: Encoded) -> _Form:
    numbers = encoded.values
    known = ~np.isnan(numbers)
    arrays: dict[str, Array] = {"values": np.where(known, numbers, np.float32(0.0))}
    if not known.all():
        arrays["known"] = np.packbits(known, bitorder="little")
    return _Form(arrays, [])


def _numbers_by_table(place: int, encoded: Encoded, base: ArraySource | None) -> _Form | None:
    """Places in a table of distinct numbers; an unknown one is a 0 that is not known."""
    numbers = encoded.values
    before = _table(place, base)
    if before is not None and base is not None and base.lists(file_of(place, "known")):
        packed = base.array(file_of(place, "known"))
        known = np.unpackbits(packed, count=len(before), bitorder="little").view(np.bool_)
        before = np.where(known, before, np.float32(np.nan))
    canonical = np.where(np.isnan(numbers), np.float32(np.nan), numbers)  # one NaN, one pattern
    found = coded(canonical.astype(np.float32), before)
    known = ~np.isnan(found.values)
    arrays: dict[str, Array] = {"values": np.where(known, found.values, np.float32(0.0))}
    if not known.all():
        arrays["known"] = np.packbits(known, bitorder="little")
    return _placed(arrays, found.codes, len(found.values))


def _placed(arrays: dict[str, Array], places: NDArray[Any], size: int) -> _Form | None:
    bits = bits_for(size)
    if bits > MAX_BITS:
        return None
    return _Form(arrays, [places], bits) if bits else _Form(arrays, [])


def _table(place: int, base: ArraySource | None) -> NDArray[Any] | None:
    name = file_of(place, "values")
    return base.array(name) if base is not None and base.lists(name) else None


@dataclass(frozen=True, slots=True)
class _InMemory:
    """Array files that are not written yet."""

    arrays: Mapping[str, Array]

    def array(self, name: str) -> Array:
        return self.arrays[name]

    def lists(self, name: str) -> bool:
        return name in self.arrays


def in_memory(features: FittedFeatures, encoded: EncodedFeatures, n: int) -> ItemFeatures:
    """Return the item features of training, as a release of them would have them.

    Args:
        features: that the ranker reads.
        encoded: values of all items by name.
        n: number of items.
    """
    written, arrays = feature_files(features, encoded)
    return open_item_features(written, _InMemory(arrays), n)
