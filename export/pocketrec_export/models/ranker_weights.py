"""The weights of a trained ranker, as its exported form wants them."""

from dataclasses import dataclass
from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.ranker.model import (
    Calibration,
    FeatureTransform,
    PiecewiseLinearEncoding,
    RetrievalPrior,
    Standardization,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceWeights:
    """The pieces that have a width; arrays [P]: feature they are of, their own number as features.

    A piece is clip(feature * rate + offset, 0, 1).
    """

    of: NDArray[np.int64]
    place: NDArray[np.int64]
    rate: Floats64
    offset: Floats64

    @classmethod
    def by(cls, found: list[PiecewiseLinearEncoding]) -> "PieceWeights":
        """Read them from a ranker's layer; one trained before there were pieces has none."""
        if not found:
            none = np.zeros(0)
            return cls(
                of=none.astype(np.int64), place=none.astype(np.int64), rate=none, offset=none
            )
        (layer,) = found
        start, rate = _array(layer.start), _array(layer.rate)
        at, each = np.flatnonzero(rate), max(layer.per_feature, 1)
        return cls(
            of=np.array(layer.columns, np.int64)[at // each],
            place=layer.n_features + at,
            rate=rate[at],
            offset=-(start * rate)[at],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a trained ranker has learned; F features, H heads, rank r, L cross layers.

    table: a vector a category code, 0 for padding. F counts pieces too. down, up, bias: V [F, r],
    U [r, F] and b [F] of each cross layer; deep: kernel and bias of each layer; read, offset:
    [F + D, H] and [H] of the read-out, prior: [H], all three with the calibration's scale in them
    and offset with its shift, so that of Platt's calibration nothing else is left; knots, slopes:
    [H, KNOTS]. Columns of V and units of the deep part are brought to one size, which their
    readers' weights make up for: int8 arithmetic has one scale for all of them.
    """

    table: Floats64
    pieces: PieceWeights
    mean: Floats64
    scale: Floats64
    down: list[Floats64]
    up: list[Floats64]
    bias: list[Floats64]
    deep: list[tuple[Floats64, Floats64]]
    read: Floats64
    offset: Floats64
    prior: Floats64
    knots: Floats64
    slopes: Floats64

    @classmethod
    def by(cls, model: keras.Model) -> "Learned":
        """Read the weights of a model of `build_ranker`."""

        def of_type(kind: type) -> list[Any]:
            return [layer for layer in model.layers if isinstance(layer, kind)]

        (numbers,), (standard,), (prior,) = (
            of_type(FeatureTransform),
            of_type(Standardization),
            of_type(RetrievalPrior),
        )
        (calibration,) = of_type(Calibration)
        crosses = of_type(keras_rs.layers.FeatureCross)
        # Every x_l is the gain times something, so whatever reads features takes the gain over.
        gain = np.asarray(standard.gain, np.float64)[:, None]
        down = [gain * _array(one.down_proj_dense.kernel) for one in crosses]
        deep = [(_array(one.kernel), _array(one.bias)) for one in of_type(layers.Dense)]
        size, read = len(gain), deep[-1][0]
        read[:size] *= gain
        first = deep[0][0] if len(deep) > 1 else read[size:]
        first *= gain
        for i, (kernel, bias) in enumerate(deep[:-1]):
            unit = sizes(np.vstack([kernel, bias]))
            deep[i] = kernel / unit, bias / unit
            reader = deep[i + 1][0]
            reader[-len(unit) :] *= unit[:, None]  # the read-out's other rows read the cross part
        table, scale = _array(numbers.table.embeddings), _array(calibration.scale)
        table[0] = 0.0
        return cls(
            table=table,
            pieces=PieceWeights.by(of_type(PiecewiseLinearEncoding)),
            mean=_array(standard.mean),
            scale=_array(standard.scale),
            down=[v / sizes(v) for v in down],
            up=[
                _array(one.dense.kernel) * sizes(v)[:, None]
                for one, v in zip(crosses, down, strict=True)
            ],
            bias=[_array(one.dense.bias) for one in crosses],
            deep=deep[:-1],
            read=deep[-1][0] * scale,
            offset=deep[-1][1] * scale + _array(calibration.shift),
            prior=_array(prior.weight) * scale,
            knots=_array(calibration.knots).T,
            slopes=_array(calibration.slopes).T,
        )


def sizes(columns: Floats64) -> Floats64:
    """Lengths of columns [m, n], [n]; 1 for a column of zeros."""
    found: Floats64 = np.linalg.norm(columns, axis=0)
    return np.where(found > 0, found, 1.0)


def _array(variable: Any) -> Floats64:
    return np.asarray(ops.convert_to_numpy(variable), np.float64).copy()
