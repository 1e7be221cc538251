"""Declared features of items as arrays, by name."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import Feature
from pocketrec_training.data import columns as col

Values = NDArray[Any]
"""One feature of n items.

Texts, object [n], of "category", "text" and "categories" (names joined by "|"), "" = unknown;
float32 [n] of "number" and "flag", NaN = unknown;
float32 [n, length] of "vector", NaN = unknown.
"""


def load_features(path: Path) -> dict[str, Values]:
    """Return the features of a table of items by name, in the table's order.

    Args:
        path: of `items.parquet`, which was read before.
    """
    with duckdb.connect() as connection:
        table = connection.sql("SELECT * FROM read_parquet(?)", params=[str(path)])
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        names = [name for name in types if name.startswith(col.FEATURE)]
        if not names:
            return {}
        quoted = ", ".join(f'"{name}"' for name in names)
        arrays = table.project(quoted).fetchnumpy()
    return {name.removeprefix(col.FEATURE): _values(arrays[name], types[name]) for name in names}


def unknown(feature: Feature, n: int) -> Values:
    """Return the values of n items of which nothing is known, as tables have them."""
    if feature.kind in ("category", "categories", "text"):
        return np.full(n, "", object)
    shape = (n, feature.length) if feature.kind == "vector" else (n,)
    return np.full(shape, np.nan if feature.missing is None else feature.missing, np.float32)


def _values(column: Any, kind: str) -> Values:
    masked = np.ma.asarray(column)
    if kind == "VARCHAR":
        return np.asarray(np.ma.filled(masked, ""), object)
    if not kind.endswith("[]"):
        return np.ma.filled(masked.astype(np.float64), np.nan).astype(np.float32)
    known = ~np.ma.getmaskarray(masked)
    rows = [np.asarray(row, np.float32) for row in np.asarray(masked.data, object)[known]]
    length = len(rows[0]) if rows else 1
    found = np.full((len(masked), length), np.nan, np.float32)
    if rows:
        found[known] = np.stack(rows)
    return found
