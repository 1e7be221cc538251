"""Read the weights of a trained ranker for its exported form."""

from dataclasses import dataclass
from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.ranker.blend import Blend, BlendColumns
from pocketrec_training.ranker.feature_transform import FeatureTransform
from pocketrec_training.ranker.model import (
    Calibration,
    PiecewiseLinearEncoding,
    RetrievalPrior,
    Standardization,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceWeights:
    """The used bins of the piecewise linear encoding; arrays [P].

    The encoding of a bin is clip(feature * rate + offset, 0, 1).
    """

    of: NDArray[np.int64]
    place: NDArray[np.int64]
    rate: Floats64
    offset: Floats64

    @classmethod
    def by(cls, found: list[PiecewiseLinearEncoding]) -> "PieceWeights":
        """Read the bins of a ranker's layer; a ranker of an early version has none."""
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
class RankerWeights:
    """The weights of a trained ranker.

    F features (with the encoded bins), H heads, rank r, L cross layers, D units of the last deep
    layer. Columns of V and units of the deep part are scaled to one size, and the weights that read
    them compensate for it, because int8 arithmetic has one scale for all of them.

    Attributes:
        table: a vector for each category code, 0 for padding.
        down: V [F, r] of each cross layer.
        up: U [r, F] of each cross layer.
        bias: b [F] of each cross layer.
        deep: kernel and bias of each deep layer.
        read: [F + D, H], the last layer, multiplied by the calibration's scale.
        offset: [H], its bias, with the calibration's scale and shift.
        prior: [H], weights of retrieval's log-probability, with the calibration's scale.
        blend: [F, H], weights of the blend, with the calibration's scale; 0 without a blend.
        knots: [H, KNOTS] of isotonic calibration.
        slopes: [H, KNOTS] of isotonic calibration; 0 for Platt scaling.
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
    blend: Floats64
    knots: Floats64
    slopes: Floats64

    @classmethod
    def by(cls, model: keras.Model) -> "RankerWeights":
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
        blend = np.zeros(size)
        for columns, mix in zip(of_type(BlendColumns), of_type(Blend), strict=True):
            blend[columns.columns] = _array(mix.weight) * gain[columns.columns, 0]
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
            blend=blend[:, None] * scale,
            knots=_array(calibration.knots).T,
            slopes=_array(calibration.slopes).T,
        )


def sizes(columns: Floats64) -> Floats64:
    """Lengths of columns [m, n], [n]; 1 for a column of zeros."""
    found: Floats64 = np.linalg.norm(columns, axis=0)
    return np.where(found > 0, found, 1.0)


def _array(variable: Any) -> Floats64:
    return np.asarray(ops.convert_to_numpy(variable), np.float64).copy()
