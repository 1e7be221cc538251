"""The user tower, which goes to the phone; the item tower is in `training/item_tower.py`.

It is a causal transformer over the vectors of the user's last items (SASRec; Kang and
McAuley 2018, with full softmax as in Klenitskiy and Vasilev 2023). It holds no item or user table.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bundle.features import FeatureSpec
from training.recipe import RetrievalConfig

_NEGATIVE = -1e9


@keras.saving.register_keras_serializable(package="pocketrec")
class UserTower(layers.Layer):
    """Causal transformer; returns a vector for every prefix of the history.

    Inputs: history_vectors f32 [B, L, d], history_events i32 [B, L], history_ages_s f32 [B, L].
    Output: f32 [B, L + 1, d]; index n is the user after n events, index 0 a learned new user.
    """

    def __init__(
        self,
        *,
        dim: int,
        blocks: int,
        heads: int,
        max_history: int,
        n_events: int,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "dim": dim,
            "blocks": blocks,
            "heads": heads,
            "max_history": max_history,
            "n_events": n_events,
            "dropout": dropout,
        }
        self.dim, self.n_heads, self.length = dim, heads, max_history + 1
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.event_table = layers.Embedding(n_events + 1, dim, embeddings_initializer=near)
        self.gap_dense = layers.Dense(dim, kernel_initializer=near)
        self.dropout = layers.Dropout(dropout)
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2 * blocks + 1)]
        self.qkv = [layers.Dense(3 * dim) for _ in range(blocks)]
        self.out = [layers.Dense(dim) for _ in range(blocks)]
        self.up = [layers.Dense(2 * dim, activation="silu") for _ in range(blocks)]
        self.down = [layers.Dense(dim) for _ in range(blocks)]

    def build(self, *_: Any) -> None:
        """Create the start token and the positions."""
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.start = self.add_weight(shape=(1, 1, self.dim), initializer=near, name="start")
        self.positions = self.add_weight(
            shape=(1, self.length, self.dim), initializer=near, name="positions"
        )
        self.built = True

    def call(
        self, history_vectors: Any, history_events: Any, history_ages_s: Any, training: bool = False
    ) -> Any:
        """Run the blocks; nothing at a position depends on a later one."""
        # The gap to the event before, not the age: it is known when the event happens, so one pass
        # trains every position without a look at when later events come.
        gaps = ops.maximum(history_ages_s[:, :-1] - history_ages_s[:, 1:], 0.0)
        gaps = ops.concatenate([ops.zeros_like(gaps[:, :1]), gaps], axis=1)
        gaps = ops.expand_dims(_log1p(gaps) / 10.0, -1)  # [B, L, 1]
        x = history_vectors * math.sqrt(self.dim)
        x = x + self.event_table(history_events) + self.gap_dense(gaps)
        start = self.start + ops.zeros_like(x[:, :1])  # [B, 1, d]
        x = ops.concatenate([start, x], axis=1) + self.positions  # [B, L + 1, d]
        x = self.dropout(x, training=training)
        mask = np.triu(np.full((self.length, self.length), _NEGATIVE, np.float32), 1)[None, None]
        for block in range(len(self.qkv)):
            x = x + self.dropout(
                self._attend(block, self.norms[2 * block](x), mask), training=training
            )
            hidden = self.up[block](self.norms[2 * block + 1](x))
            x = x + self.dropout(self.down[block](hidden), training=training)
        return self.norms[-1](x)

    def _attend(self, block: int, x: Any, mask: Any) -> Any:
        shape = (-1, self.length, self.n_heads, self.dim // self.n_heads)
        query, key, value = (
            ops.transpose(ops.reshape(part, shape), (0, 2, 1, 3))  # [B, H, L + 1, d / H]
            for part in ops.split(self.qkv[block](x), 3, axis=-1)
        )
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        weights = ops.softmax(scores / math.sqrt(shape[-1]) + mask, axis=-1)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.out[block](ops.reshape(mixed, (-1, self.length, self.dim)))

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable(package="pocketrec")
class LastPosition(layers.Layer):
    """Pick index n of [B, L + 1, d], n = history_length [B, 1], by a one-hot product."""

    def __init__(self, *, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def call(self, states: Any, history_length: Any) -> Any:
        """Return f32 [B, d]."""
        # Keras casts integer inputs to float on the way in, hence the cast back.
        at = ops.reshape(ops.cast(history_length, "int32"), (-1, 1))
        places = ops.cast(ops.equal(at, np.arange(self.length, dtype=np.int32)[None]), "float32")
        return ops.sum(states * ops.expand_dims(places, -1), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), "length": self.length}


def build_user_tower(config: RetrievalConfig, spec: FeatureSpec) -> keras.Model:
    """Build the exported form: four named inputs, the vector at `history_length` as output."""
    length, dim = spec.max_history, spec.dim
    vectors = keras.Input((length, dim), name="history_vectors")
    events = keras.Input((length,), dtype="int32", name="history_events")
    ages = keras.Input((length,), name="history_ages_s")
    n = keras.Input((), dtype="int32", name="history_length")
    tower = UserTower(
        dim=dim,
        blocks=config.blocks,
        heads=config.heads,
        max_history=length,
        n_events=len(spec.event_types),
        dropout=config.dropout,
        name="tower",
    )
    last = LastPosition(length=length + 1, name="user_vector")(tower(vectors, events, ages), n)
    return keras.Model([vectors, events, ages, n], last, name="user_tower")


def _log1p(x: Any) -> Any:
    """log(1 + x), spelt out: ONNX has no Log1p operator and tf2onnx does not rewrite it."""
    return ops.log(x + 1.0)
