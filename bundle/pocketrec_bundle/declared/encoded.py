"""Values of declared features in the form of a release: codes, numbers, int8 rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.feature import Feature
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows

_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Encoded:
    """One feature of n items.

    Attributes:
        values: codes int32 [n, width], 0 = unknown or padding; numbers and flags float32 [n], NaN =
            unknown; a vector's int8 [n, length], 0 = unknown.
        scales: float32 [n] of a vector, else None.
    """

    values: NDArray[Any]
    scales: Floats32 | None = None

    def pick(self, rows: NDArray[Any]) -> "Encoded":
        """Return some items, in the order of `rows` (integer [m] or bool [n])."""
        return Encoded(self.values[rows], None if self.scales is None else self.scales[rows])

    def plus(self, others: "Encoded") -> "Encoded":
        """Return these items, followed by others."""
        if self.scales is None or others.scales is None:
            return Encoded(np.concatenate([self.values, others.values]))
        return Encoded(
            np.concatenate([self.values, others.values]),
            np.concatenate([self.scales, others.scales]),
        )

    def replaced(self, rows: NDArray[Any], others: "Encoded") -> "Encoded":
        """Return a copy in which some rows have the values of others."""
        found = Encoded(self.values.copy(), None if self.scales is None else self.scales.copy())
        found.values[rows] = others.values
        if found.scales is not None:
            found.scales[rows] = others.scales
        return found


EncodedFeatures = Mapping[str, Encoded]
"""Encoded features by name."""


def encoded_vectors(vectors: Floats32) -> Encoded:
    """Bring vectors to length 1 and round them to int8.

    Args:
        vectors: float32 [n, length]; NaN = unknown.
    """
    known = np.nan_to_num(vectors, nan=0.0)
    lengths = np.linalg.norm(known, axis=1, keepdims=True)
    rows, scales = quantize_rows((known / np.maximum(lengths, _LEAST)).astype(np.float32))
    return Encoded(rows, scales)


def is_coded(feature: Feature) -> bool:
    """Whether the values of a feature are codes of names."""
    return feature.kind in ("category", "categories")


def is_number_like(feature: Feature) -> bool:
    """Whether the values of a feature are single numbers, with a known flag."""
    return feature.kind in ("number", "flag")
