"""The exported form of the user tower: one query in its last block, no table of distances.

Weights and answers are those of the Keras model. Training needs a vector for every prefix of a
history; a phone needs one, at `history_length`, and of the last block only the keys and values of
all positions. The [H, l, l] biases by distance, constants of 4 H l^2 bytes a block once a converter
has folded them (646 kB at l = 201), are built in the graph from rows of 2 l numbers.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketrec_training.towers.user_tower import LastPosition, UserTower

HIDDEN = -60.0
"""Hides a place from attention; training adds -1e9.

e^-60 is as good as 0 beside any place seen, and -60 sets neither the scale of int8 scores (with
-1e9 the full int8 tower's mean cosine was .92 and .78, with -60 it is .999 and .989), nor does it
overflow float16.
"""


def exported_form(model: keras.Model) -> keras.Model:
    """Return a model with a user tower in its exported form, any other as it is; layers are shared.

    The result takes batches of one.
    """
    given: dict[str, Any] = {}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, UserTower):
            given["tower"], given["history"] = layer, args
        if isinstance(layer, LastPosition):
            return VectorAt(given["tower"], name=layer.name)(*given["history"], args[1])
        return layer(*args, **kwargs)

    if not any(isinstance(layer, UserTower) for layer in model.layers):
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


class VectorAt(layers.Layer):
    """`UserTower`, then `LastPosition`, in one: f32 [1, d]. It has no weights of its own."""

    def __init__(self, tower: UserTower, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tower = tower

    def build(self, *_: Any) -> None:
        """Nothing to create."""
        self.built = True

    def call(
        self, history_vectors: Any, history_events: Any, history_ages_s: Any, history_length: Any
    ) -> Any:
        """Run all blocks but the last on every position, the last one from `history_length`."""
        tower = self.tower
        n = ops.reshape(ops.cast(history_length, "int32"), (1,))  # Keras casts it to float
        # 1 for every history, but no converter knows: it keeps them from folding the tables.
        one = 1.0 + ops.cast(ops.minimum(n, 0), "float32")
        ones = ops.reshape(one, (1, 1, 1)) + np.zeros((1, tower.length, 1), np.float32)
        x = tower.embed(history_vectors, history_events, history_ages_s)  # [1, l, d]
        last = len(tower.mix) - 1
        for block in range(last):
            x = x + tower.attend(block, x, _all_biases(tower, block, ones))
            if tower.attention != "hstu":
                x = x + tower.feed_forward(block, x)
        at = ops.take(x, n, axis=1)  # [1, 1, d]
        at = at + _attend_from(tower, last, at, x, _biases_at(tower, last, n))
        if tower.attention != "hstu":
            at = at + tower.feed_forward(last, at)
        return tower.last_norm(at)[:, 0]


def _attend_from(tower: UserTower, block: int, at: Any, x: Any, bias: Any) -> Any:
    """`UserTower.attend` for the states `at` [1, 1, d] alone, over all of x [1, l, d]."""
    dense, norm = tower.mix[block], tower.norms[block]
    kernels = ops.split(dense.kernel, tower.parts, axis=1)
    offsets = ops.split(dense.bias, tower.parts)

    def project(states: Any, parts: list[int]) -> list[Any]:
        kernel = ops.concatenate([kernels[part] for part in parts], axis=1)
        offset = ops.concatenate([offsets[part] for part in parts])
        mixed = tower.activate(ops.matmul(norm(states), kernel) + offset)
        return list(ops.split(mixed, len(parts), axis=-1))

    key, value = project(x, [1, 2])
    asking = tuple(project(at, [0, *range(3, tower.parts)]))
    return tower.mixture(block, asking, (key, value), bias)


def _all_biases(tower: UserTower, block: int, ones: Any) -> Any:
    """Biases of all pairs, f32 [H or 1, l, l]: what is added to a score from place i to place j.

    Cut from a row r of 2 l numbers, repeated: read with a period of 2 l - 1, it moves on by one
    place a row, so that entry (i, j) is r[(j - i) mod 2 l].
    """
    length = tower.length
    later = np.full((1, length), HIDDEN, np.float32)  # r[1 .. l]: not seen
    if tower.placing in ("absolute", "none"):
        row = np.concatenate([np.zeros((1, 1), np.float32), later], axis=1)
        row = np.concatenate([row, np.zeros((1, length - 1), np.float32)], axis=1)
    else:
        near = tower.distances[block]  # [H, l], by distance
        later = np.repeat(later, tower.n_heads, axis=0)
        row = ops.concatenate([near[:, :1], later, ops.flip(near[:, 1:], axis=1)], axis=1)
    rows = ops.expand_dims(row, 1) * ones  # [H, l, 2 l]
    flat = ops.reshape(rows, (-1, length * 2 * length))[:, : length * (2 * length - 1)]
    return ops.reshape(flat, (-1, length, 2 * length - 1))[:, :, :length]


def _biases_at(tower: UserTower, block: int, n: Any) -> Any:
    """Biases of the pairs from place n, f32 [H or 1, 1, l]."""
    apart = n - np.arange(tower.length, dtype=np.int32)  # [l]
    bias = ops.where(apart >= 0, 0.0, HIDDEN)[None]
    if tower.placing in ("relative", "both"):
        bias = bias + ops.take(tower.distances[block], ops.maximum(apart, 0), axis=1)
    return ops.expand_dims(bias, 1)
