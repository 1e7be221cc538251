"""The form in which the ranker leaves: what depends on the user alone is computed once a list.

Weights and answers are those of the Keras model. A list has one user and many items, so every
product W x of its features is W_u x_u, one row, plus W_i x_i. The cross layers of DCN-v2, low rank
with h_l = V_l x_{l-1}, need not make the user's half of x_l for every item either: all of them are
x_0 times a sum,

    x_l = x_0 * (c_l + h_1 U_1 + ... + h_l U_l),  c_l = 1 + b_1 + ... + b_l,

so that a product P of x_l is (c_l * P) x_0 + h_1 ((U_1 * x_0) P) + ...: for the user's half, small
matrices made once a list; for the last layer, whose product is the read-out, columns of the first
product of x_0 (for both halves).
"""

from dataclasses import dataclass
from typing import Any

import keras
import keras_rs
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from export.ranker_columns import NONE, Block, Layout, against_recent, block, spread
from training.ranker import CATEGORY_DIM, LIMIT, Calibration, Numbers, Prior, Standard

Doubles = NDArray[np.float64]


def exported_form(model: keras.Model) -> keras.Model:
    """Return a model with a ranker in its exported form, any other as it is."""
    if not any(isinstance(layer, Numbers) for layer in model.layers):
        return model
    inputs = {tensor.name: tensor for tensor in model.inputs}
    return keras.Model(inputs, ListRanker(model)(**inputs), name=model.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a trained ranker has learned, in float64; F features, H heads, r the rank.

    table: a vector a category code, zeros for padding. cross: V [F, r], U [r, F] and bias [F] a
    layer; deep: kernel and bias a layer; read: kernel
    [F + D, H] and bias [H] of the read-out, prior [H], all with the calibration's scale and shift.
    knots, slopes: [KNOTS, H].
    """

    table: Doubles
    mean: Doubles
    scale: Doubles
    cross: list[tuple[Doubles, Doubles, Doubles]]
    deep: list[tuple[Doubles, Doubles]]
    read: tuple[Doubles, Doubles]
    prior: Doubles
    knots: Doubles
    slopes: Doubles

    @classmethod
    def of(cls, model: keras.Model) -> "Weights":
        """Take them from a model of `build_ranker`."""
        (numbers,) = _of_type(model, Numbers)
        (standard,) = _of_type(model, Standard)
        (prior,) = _of_type(model, Prior)
        (calibration,) = _of_type(model, Calibration)
        *deep, read = [(_array(d.kernel), _array(d.bias)) for d in _of_type(model, layers.Dense)]
        scale = _array(calibration.scale)
        return cls(
            table=np.vstack([np.zeros((1, CATEGORY_DIM)), _array(numbers.table.embeddings)[1:]]),
            mean=_array(standard.mean),
            scale=_array(standard.scale),
            cross=[
                (_array(c.down_proj_dense.kernel), _array(c.dense.kernel), _array(c.dense.bias))
                for c in _of_type(model, keras_rs.layers.FeatureCross)
            ],
            deep=deep,
            read=(read[0] * scale, read[1] * scale + _array(calibration.shift)),
            prior=_array(prior.weight) * scale,
            knots=_array(calibration.knots),
            slopes=_array(calibration.slopes),
        )


def _of_type(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def _array(variable: Any) -> Doubles:
    return np.asarray(variable, np.float64)


class ListRanker(layers.Layer):
    """The ranker for the items of one user: f32 [N, H]. It has no weights of its own."""

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        (self.numbers,) = _of_type(model, Numbers)
        self.learned = Weights.of(model)

    def build(self, *_: Any, **__: Any) -> None:
        """Nothing to create."""
        self.built = True

    def call(
        self,
        user_vector: Any,
        item_vectors: Any,
        item_categories: Any,
        item_numeric: Any,
        context: Any,
        pair: Any,
    ) -> Any:
        """Return probabilities; user_vector and context have one row."""
        numbers = self.numbers
        layout = Layout.of(numbers, int(user_vector.shape[-1]))
        assert layout.size == len(self.learned.mean)
        user, user_at = self._standard(
            [block(user_vector, layout.user), *spread(context, layout.forms["context"])]
        )
        items, items_at = self._standard(
            [
                block(item_vectors, layout.item),
                block(item_vectors, layout.product),
                *spread(item_numeric, layout.forms["numeric"]),
                *spread(pair, layout.forms["pair"]),
                *against_recent(numbers, layout, item_numeric, context),
                self._by_marks(layout, item_categories, pair),
            ],
            user_vector,
        )
        found = np.concatenate([user_at, items_at])
        assert sorted(found[found != NONE]) == [*range(layout.size)]
        share = numbers.names["pair"].index("retrieval_share")
        log_share = ops.log(ops.maximum(pair[:, share : share + 1], 1e-9))
        return self._calibrated(
            self._logits((user, user_at), (items, items_at)) + log_share * _row(self.learned.prior)
        )

    def _standard(self, blocks: list[Block], user_vector: Any = None) -> tuple[Any, Any]:
        """Join blocks and bring them to mean 0 and spread 1, within the limit, as `Standard` does.

        Mean, spread, factors and offsets are one product and one sum: the limit stands behind them,
        so that they cannot go on into the weights. user_vector: multiplies the second block.

        Returns:
            f32 [n, k] and the features that the columns are, [k].
        """
        place = np.concatenate([one.place for one in blocks])
        factor = np.concatenate([one.factor for one in blocks])
        offset = np.concatenate([one.offset for one in blocks])
        scale = np.where(place == NONE, 0.0, self.learned.scale[place])
        slope: Any = _row(factor * scale)
        if user_vector is not None:
            start, end = np.cumsum([len(one.place) for one in blocks[:2]])
            parts = [slope[:, :start], slope[:, start:end] * user_vector, slope[:, end:]]
            slope = ops.concatenate(parts, axis=1)
        values = ops.concatenate([one.values for one in blocks], axis=1)
        moved = values * slope + _row((offset - self.learned.mean[place]) * scale)
        return ops.clip(moved, -LIMIT, LIMIT), place

    def _by_marks(self, layout: Layout, item_categories: Any, pair: Any) -> Block:
        """Means over an item's category marks: of their learned vectors, and of taste."""
        table = self.learned.table.astype(np.float32)
        # Codes first: a sum over the first axis is a sum of whole rows.
        sums = ops.sum(ops.take(table, ops.transpose(item_categories), axis=0), axis=0)  # [N, 8]
        marks = ops.sum(ops.cast(item_categories > 0, "float32"), axis=1, keepdims=True)
        place = [*layout.content]
        if layout.taste != NONE:
            taste = self.numbers.names["pair"].index("taste")
            sums = ops.concatenate([sums, pair[:, taste : taste + 1]], axis=1)
            place.append(layout.taste)
        return block(sums / ops.maximum(marks, 1.0), place)

    def _logits(self, user: tuple[Any, Any], items: tuple[Any, Any]) -> Any:
        """Logits of the cross and the deep part, [N, H], from both halves of the features."""
        learned, (x_u, at_u), (x_i, at_i) = self.learned, user, items
        read, offset = learned.read
        size, heads = len(learned.mean), len(offset)
        down = [v for v, _, _ in learned.cross]  # [F, r] each
        up = [u for _, u, _ in learned.cross]  # [r, F] each
        sums = 1.0 + np.cumsum([b for _, _, b in learned.cross], axis=0)  # c_1 .. c_L
        # Columns of the first product: h_1, the first deep layer, and the read-out of x_L.
        gates = np.concatenate(up).T[:, None, :] * read[:size, :, None]  # [F, H, L r]
        plain = read[:size] * sums[-1][:, None]  # [F, H]
        if learned.deep:
            kernel, bias = learned.deep[0]
        else:
            kernel, bias = np.zeros((size, 0)), np.zeros(0)
            plain = plain + read[size:]
        parts = [down[0], kernel, gates.reshape(size, -1), plain]
        ends = np.cumsum([part.shape[1] for part in parts])
        columns = np.concatenate(parts, axis=1)
        offsets = np.zeros(columns.shape[1])
        offsets[ends[0] : ends[1]], offsets[ends[2] :] = bias, offset
        first = ops.matmul(x_i, _rows(columns, at_i)) + (
            ops.matmul(x_u, _rows(columns, at_u)) + _row(offsets)
        )
        h = first[:, : ends[0]]
        for layer in range(1, len(down)):
            before = np.concatenate(up[:layer])  # [l r, F]
            c = sums[layer - 1]
            x_l = x_i * (ops.matmul(h, _rows(before.T, at_i).T) + _row(np.append(c, 0.0)[at_i]))
            mixed = ops.matmul(x_u * _rows(before.T, at_u).T, _rows(down[layer], at_u))  # [l r, r]
            fixed = ops.matmul(x_u, _rows(down[layer] * c[:, None], at_u))  # [1, r]
            new = ops.matmul(x_l, _rows(down[layer], at_i)) + ops.matmul(h, mixed) + fixed
            h = ops.concatenate([h, new], axis=1)
        gate = ops.reshape(first[:, ends[1] : ends[2]], (-1, heads, h.shape[1]))
        logits = ops.sum(gate * ops.expand_dims(h, 1), axis=2) + first[:, ends[2] :]
        if not learned.deep:
            return logits
        deep = ops.relu(first[:, ends[0] : ends[1]])
        for kernel, bias in learned.deep[1:]:
            deep = ops.relu(ops.matmul(deep, kernel.astype(np.float32)) + _row(bias))
        return logits + ops.matmul(deep, read[size:].astype(np.float32))

    def _calibrated(self, x: Any) -> Any:
        """`Calibration`, whose scale and shift the read-out holds; of platt nothing is left."""
        slopes = self.learned.slopes
        if slopes.any():
            bends = ops.relu(ops.expand_dims(x, 2) - self.learned.knots.T.astype(np.float32))
            x = x + ops.sum(bends * slopes.T.astype(np.float32), axis=2)
        return ops.sigmoid(x)


def _row(values: Doubles) -> NDArray[np.float32]:
    return values[None].astype(np.float32)


def _rows(matrix: Doubles, at: Any) -> NDArray[np.float32]:
    """Rows of a matrix [F, n], zeros where `at` is NONE."""
    return np.append(matrix, np.zeros((1, matrix.shape[1])), axis=0)[at].astype(np.float32)
