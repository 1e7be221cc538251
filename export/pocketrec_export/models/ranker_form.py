"""The exported form of the ranker: terms of the user alone are computed once for each list.

Weights and answers are those of the Keras model. All items of a list have one user, so every
product of the features is W_u x_u, one row, plus W_i x_i. Nor do the cross layers (DCN-v2, low
rank: h_l = V_l x_{l-1}) have to make the user's half of x_l for every item. All x_l are x_0 times
something,

    x_l = x_0 * (c_l + h_1 U_1 + ... + h_l U_l),    c_l = 1 + b_1 + ... + b_l,

so a product P of x_l is (c_l * P) x_0 + h_1 ((U_1 * x_0) P) + ...: a matrix [r, r] made once a list
for the user's half of the next h; for the read-out, columns of the first product, for both halves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_export.models.ranker_columns import (
    Block,
    Layout,
    against_recent,
    block,
    cut,
    pick,
    spread,
)
from pocketrec_export.models.ranker_weights import RankerWeights, sizes
from pocketrec_training.ranker.declared_parts import DeclaredParts
from pocketrec_training.ranker.feature_transform import MIN_SHARE, SHARE, FeatureTransform
from pocketrec_training.ranker.model import LIMIT


def exported_form(model: keras.Model) -> keras.Model:
    """Return a model with a trained ranker in its exported form, any other as it is."""
    if not any(isinstance(layer, FeatureTransform) for layer in model.layers):
        return model
    form = ListRanker(model)
    if not form.learned.read.any():
        return model  # nothing was learned, and int8 kernels abort where every product is 0
    inputs = {tensor.name: tensor for tensor in model.inputs}
    return keras.Model(inputs, form(**inputs), name=model.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """The user's standardised features, f32 [1, k], or the items', [N, k]; at: their numbers."""

    values: Any
    at: NDArray[np.int64]

    def times(self, kernel: Floats64) -> Any:
        """Return this half's part of the product with a kernel [F, n]."""
        return ops.matmul(self.values, _single(kernel[self.at]))


class ListRanker(layers.Layer):
    """The ranker for the items of one user: f32 [N, H]. It has no weights of its own."""

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        (self.numbers,) = (layer for layer in model.layers if isinstance(layer, FeatureTransform))
        self.declared = [layer for layer in model.layers if isinstance(layer, DeclaredParts)]
        self.learned = RankerWeights.by(model)

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
        **typed: Any,
    ) -> Any:
        """Return probabilities; user_vector and context have one row; typed: declared features."""
        learned, numbers = self.learned, self.numbers
        layout = Layout.of(numbers, int(item_vectors.shape[-1]))
        raw_user, raw_pair = ops.transpose(context), ops.transpose(pair)
        raw_item = ops.concatenate([ops.transpose(item_numeric), raw_pair], axis=0)
        content, taste = self._by_marks(layout, item_categories, raw_pair)
        scaled, vectors, end = self._declared(layout.end, typed)
        user = self._half([block(user_vector, layout.user)], spread(raw_user, layout.context))
        items = self._half(
            [
                block(item_vectors, layout.product),
                block(item_vectors, layout.vector),
                block(content, layout.content),
                *vectors,
            ],
            [
                *spread(raw_item, layout.item),
                *against_recent(numbers, layout, raw_item, raw_user),
                *taste,
                *scaled,
            ],
            user_vector,
        )
        features = [*range(end), *learned.pieces.place]  # a piece without width is 0
        assert sorted([*user.at, *items.at]) == features
        share = pick(raw_pair, [numbers.names["pair"].index(SHARE)])
        x = ops.log(ops.maximum(share, MIN_SHARE)) * _single(learned.prior[:, None])
        x = _logits(learned, user, items) + (x + _single(learned.offset[:, None]))  # [H, N]
        if learned.slopes.any():
            bends = ops.relu(ops.expand_dims(x, 1) - _single(learned.knots[:, :, None]))
            x = x + ops.sum(bends * _single(learned.slopes[:, :, None]), axis=1)
        return ops.sigmoid(ops.transpose(x))

    def _declared(self, start: int, typed: dict[str, Any]) -> tuple[list[Block], list[Block], int]:
        """Return numbers as rows, learned vectors as columns, and the number of features then."""
        if not self.declared:
            return [], [], start
        (parts,) = self.declared
        middle = start + parts.n_numbers
        end = middle + parts.n_learned
        scaled, vectors = [], []
        if parts.n_numbers:
            rows = ops.transpose(parts.scaled(typed["item_numbers"]))
            scaled = [block(rows, range(start, middle))]
        if parts.n_learned:
            found = parts.learned(typed.get("item_codes"), typed.get("item_embeddings"))
            vectors = [block(found, range(middle, end))]
        return scaled, vectors, end

    def _by_marks(self, layout: Layout, item_categories: Any, pair: Any) -> tuple[Any, list[Block]]:
        """Means over each item's category marks: of their vectors, f32 [N, 8], and of taste."""
        codes = ops.transpose(item_categories)  # sums over the first axis are sums of whole rows
        sums = ops.sum(tf.gather(_single(self.learned.table), codes), axis=0)
        marks = ops.sum(ops.cast(codes > 0, "float32"), axis=0, keepdims=True)
        share = 1.0 / ops.maximum(marks, 1.0)  # [1, N]
        found = []
        if layout.taste >= 0:
            taste = pick(pair, [self.numbers.names["pair"].index("taste")])
            found = [block(taste * share, [layout.taste])]
        return sums * ops.reshape(share, (-1, 1)), found

    def _half(self, columns: Sequence[Block], rows: Sequence[Block], first: Any = 1.0) -> Half:
        """Join features and their pieces, and standardise them, in one product and one sum.

        What scales a feature cannot go on into the weights, as the gain does: the limit stands
        between.

        Args:
            columns: blocks whose values are [n, k]
            rows: blocks as they are.
            first: what the first block is multiplied by.
        """
        rows = [*rows, *cut(rows, self.learned.pieces)]
        blocks = [*columns, *rows]
        at = np.concatenate([one.place for one in blocks])
        factor = np.concatenate([one.factor for one in blocks])
        offset = np.concatenate([one.offset for one in blocks])
        scale, mean = self.learned.scale[at], self.learned.mean[at]
        slope, k = _single((factor * scale)[None]), len(blocks[0].place)
        joined = ops.transpose(ops.concatenate([one.values for one in rows], axis=0))
        x = ops.concatenate([*(one.values for one in columns), joined], axis=1)
        x = x * ops.concatenate([slope[:, :k] * first, slope[:, k:]], axis=1)
        return Half(values=ops.clip(x + _single((offset - mean) * scale), -LIMIT, LIMIT), at=at)


def _logits(learned: RankerWeights, user: Half, items: Half) -> Any:
    """Read-out of the cross and the deep part without its offset, f32 [H, N]."""
    size, heads = len(learned.mean), len(learned.offset)
    read, read_deep = learned.read[:size], learned.read[size:]
    sums = 1.0 + np.cumsum(learned.bias, axis=0)  # c_1 .. c_L
    gates = np.concatenate(learned.up).T[:, None] * read[:, :, None]  # [F, H, L r]
    linear = read * sums[-1][:, None] + learned.blend
    kernel, bias = learned.deep[0] if learned.deep else (np.zeros((size, 0)), np.zeros(0))
    if not learned.deep:
        linear = linear + read_deep
    gates = gates.reshape(size, -1)
    parts = [kernel, learned.down[0], gates / sizes(gates), linear / sizes(linear)]
    d, r = kernel.shape[1], learned.down[0].shape[1]
    kernels = np.concatenate(parts, axis=1)
    offsets = np.append(bias, np.zeros(kernels.shape[1] - d))
    first = items.times(kernels) + (user.times(kernels) + _single(offsets))
    rows = ops.transpose(first[:, d:])  # [r + H L r + H, N]
    h = ops.concatenate([rows[:r], *_later(learned, first[:, d : d + r], user, items)], axis=0)
    gate = ops.reshape(rows[r:-heads], (heads, len(learned.up) * r, -1))
    weights = sizes(gates).reshape(heads, -1, 1)
    logits = ops.sum(gate * h * _single(weights), axis=1)
    logits = logits + rows[-heads:] * _single(sizes(linear)[:, None])
    if not learned.deep:
        return logits
    deep = ops.relu(first[:, :d])
    for kernel, bias in learned.deep[1:]:
        deep = ops.relu(ops.matmul(deep, _single(kernel)) + _single(bias))
    return logits + ops.transpose(ops.matmul(deep, _single(read_deep)))


def _later(learned: RankerWeights, h: Any, user: Half, items: Half) -> list[Any]:
    """h_2 .. h_L as rows, f32 [r, N] each, from h_1 [N, r]."""
    found = []
    for layer, down in enumerate(learned.down[1:], 1):
        up = np.concatenate(learned.up[:layer])  # [l r, F]
        c = 1.0 + np.sum(learned.bias[:layer], axis=0)  # [F]
        gate = ops.matmul(h, _single(up[:, items.at])) + _single(c[items.at])
        mixed = Half(values=user.values * _single(up[:, user.at]), at=user.at).times(down)
        fixed = user.times(c[:, None] * down)
        made = Half(values=items.values * gate, at=items.at).times(down)
        made = made + ops.matmul(h, mixed) + fixed
        h = ops.concatenate([h, made], axis=1)
        found.append(ops.transpose(made))
    return found


def _single(values: Floats64) -> NDArray[np.float32]:
    return values.astype(np.float32)
