"""Item columns: one value for each row, one for all rows, or codes of distinct values.

Codes are dictionary encoding, as in Parquet: exact, and one or two bytes a row if values repeat.
FORMAT.md, "Column".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.array_checks import expect_below, expect_form
from pocketrec_bundle.encoding.arrays import HEADER_BYTES, Array

CODES = ("u1", "u2", "i4")
"""Dtypes that codes may have; a writer uses the smallest that fits."""


class Column(Protocol):
    """Values by row, float or integer [N, ...]; a NumPy array is a column."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the values of rows: an array of row numbers, or a slice."""

    def __len__(self) -> int: ...


class ArraySource(Protocol):
    """The array files of a release by name, such as a `Bundle`."""

    def array(self, name: str) -> Array:
        """Return an array of the release."""

    def lists(self, name: str) -> bool:
        """Whether the release has a file of that name."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few distinct values.

    Attributes:
        codes: integer [N]; row r has `values[codes[r]]`.
        values: [S, ...], S distinct values.
    """

    codes: NDArray[Any]
    values: NDArray[Any]

    def __getitem__(self, rows: Any) -> Any:
        return self.values[self.codes[rows]]

    def __len__(self) -> int:
        return len(self.codes)


def numbers_at(column: Column, place: int) -> NDArray[np.int32]:
    """Return number `place` of every row of an integer column [N, K], int32 [N]."""
    if isinstance(column, Coded):
        return np.asarray(column.values[:, place].astype(np.int32)[column.codes])
    return np.asarray(column[:][:, place], np.int32)


@dataclass(frozen=True, slots=True)
class Stacked:
    """Columns of single numbers, side by side: [N, M]."""

    columns: tuple[Column, ...]

    def __getitem__(self, rows: Any) -> Any:
        return np.stack([column[rows] for column in self.columns], axis=-1)

    def __len__(self) -> int:
        return len(self.columns[0])


def column_at(columns: Column, place: int) -> Column:
    """Return column `place` of columns [N, M]; of `Stacked` columns without a copy."""
    if isinstance(columns, Stacked):
        return columns.columns[place]
    column: Column = columns[:][:, place]
    return column


def open_column(
    source: ArraySource,
    name: str,
    form: tuple[str, tuple[int, ...]],
    check: Callable[[str, Array], None],
) -> Column:
    """Open a column, memory-mapped.

    Args:
        source: the release.
        name: of the column.
        form: expected dtype code and shape, rows first.
        check: checks the distinct values; its first argument is a name for the message.

    Raises:
        BundleInvalidError: the form differs, or a code has no value.
    """
    dtype, (n, *row) = form
    values = source.array(f"{name}.values")
    coded = source.lists(f"{name}.codes")
    one_for_all = not coded and values.shape[:1] == (1,)
    expect_form(f"{name}.values", values, dtype, (len(values) if coded or one_for_all else n, *row))
    check(f"{name}.values", values)
    if not coded:
        return np.broadcast_to(values, (n, *row))
    codes = source.array(f"{name}.codes")
    expect_codes(f"{name}.codes", codes, n, len(values))
    return Coded(codes, values)


def expect_codes(name: str, codes: Array, n: int, limit: int) -> None:
    """Check that there are `n` codes of a dtype of `CODES`, each below `limit`.

    Raises:
        BundleInvalidError: the dtype, the number or a code is wrong.
    """
    dtype = codes.dtype.str[1:]
    expect_form(name, codes, dtype if dtype in CODES else " or ".join(CODES), (n,))
    expect_below(name, codes, limit)


def column_files(
    name: str, values: NDArray[Any], base: ArraySource | None = None
) -> dict[str, Array]:
    """Return the array files of a column, in the smallest form.

    Args:
        name: of the column.
        values: [N] or [N, K].
        base: the previous release. Its codes keep their meaning, so that a delta holds little
            more than the new values. None: no previous release.
    """
    table = None
    if base is not None and base.lists(f"{name}.codes"):
        table = base.array(f"{name}.values")
    made = coded(values, table)
    if len(made.values) == 1:
        return {f"{name}.values": made.values}
    files = {f"{name}.codes": made.codes, f"{name}.values": made.values}
    return min({f"{name}.values": values}, files, key=_bytes)


def coded(values: NDArray[Any], base: NDArray[Any] | None = None) -> Coded:
    """Find the distinct values; floats are compared by their bits, so that -0.0 is kept.

    Args:
        values: [N] or [N, K].
        base: a table to extend with the values that it lacks. It is not used if its unused values
            would make the codes wider.
    """
    distinct, codes = np.unique(_keys(values), return_inverse=True)
    places = np.arange(len(distinct))
    table = _values(distinct, values)
    if base is not None and base.dtype == values.dtype and base.shape[1:] == values.shape[1:]:
        known = {key: code for code, key in enumerate(_keys(base).tolist())}
        base_codes = np.array([known.get(key, -1) for key in distinct.tolist()], np.int64)
        new = base_codes < 0
        n = len(base) + int(new.sum())
        if code_dtype(n) == code_dtype(len(distinct)):
            base_codes[new] = np.arange(len(base), n)
            places, table = base_codes, np.concatenate([base, table[new]])
    dtype = code_dtype(len(table))
    return Coded(places.astype(dtype)[codes.reshape(-1)], table)


def code_dtype(n: int) -> np.dtype[Any]:
    """Return the smallest dtype for codes 0..n - 1."""
    return np.dtype(CODES[0] if n <= 1 << 8 else CODES[1] if n <= 1 << 16 else f"<{CODES[2]}")


def _keys(values: NDArray[Any]) -> NDArray[Any]:
    """Return each row's bytes as one comparable key, [N]."""
    each = math.prod(values.shape[1:])
    width = values.dtype.itemsize * each
    key = f"<u{width}" if width in (1, 2, 4, 8) else f"V{width}"
    return np.ascontiguousarray(values).reshape(len(values), each).view(key).reshape(-1)


def _values(keys: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Turn keys back to rows."""
    return keys.view(like.dtype).reshape(len(keys), *like.shape[1:])


def _bytes(files: dict[str, Array]) -> int:
    return sum(HEADER_BYTES + array.nbytes for array in files.values())
