"""The user tower, which runs on the phone; `item_tower.py` has the item tower.

The user tower reads the vectors of the user's last items (SASRec; Kang and McAuley 2018, with full
softmax as in Klenitskiy and Vasilev 2023, and its successors). It holds no item or user table.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.recipe.schema import RetrievalConfig

_NEGATIVE = -1e9


@keras.saving.register_keras_serializable(package="pocketrec")
class UserTower(layers.Layer):
    """Causal sequence model; returns a vector for every prefix of the history.

    Inputs: history_vectors f32 [B, l, d], history_events i32 [B, l], history_ages_s f32 [B, l],
    with any l <= `max_history`.
    Output: f32 [B, l + 1, d]; index n is the user after n events, index 0 a learned new user.

    attention: "softmax" is SASRec's block (Kang and McAuley 2018); "gated" multiplies what
    attention mixes by SiLU of a projection and gates the feed-forward part too (Shazeer 2020);
    "hstu" is the block of Zhai et al. 2024, sec. 3: SiLU instead of softmax, no feed-forward part.
    positions: "absolute" adds a learned vector a place, "relative" a learned number a head and
    distance to the scores (Shaw et al. 2018 in the form of T5), "both" does both, "none" neither.
    With "none" the weights of the gaps begin at 0, and stay there if the data has no times: then a
    device whose events have times computes the same.
    """

    def __init__(
        self,
        *,
        dim: int,
        blocks: int,
        heads: int,
        ffn: int,
        max_history: int,
        n_events: int,
        attention: str,
        positions: str,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "dim": dim,
            "blocks": blocks,
            "heads": heads,
            "ffn": ffn,
            "max_history": max_history,
            "n_events": n_events,
            "attention": attention,
            "positions": positions,
            "dropout": dropout,
        }
        self.dim, self.n_heads, self.length = dim, heads, max_history + 1
        self.attention, self.placing = attention, positions
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.event_table = layers.Embedding(n_events + 1, dim, embeddings_initializer=near)
        gaps = "zeros" if positions == "none" else near
        self.gap_dense = layers.Dense(dim, kernel_initializer=gaps)
        self.dropout = layers.Dropout(dropout)
        self.parts = 3 if attention == "softmax" else 4  # query, key, value, gate
        self.norms = [_norm() for _ in range(blocks)]
        self.mix = [layers.Dense(self.parts * dim) for _ in range(blocks)]
        self.out = [layers.Dense(dim) for _ in range(blocks)]
        self.last_norm = _norm()
        if attention != "hstu":
            width = ffn * dim * (2 if attention == "gated" else 1)
            self.ffn_norms = [_norm() for _ in range(blocks)]
            self.up = [layers.Dense(width) for _ in range(blocks)]
            self.down = [layers.Dense(dim) for _ in range(blocks)]

    @contextmanager
    def computing_in(self, precision: str) -> Iterator[None]:
        """Multiply the blocks' matrices in another precision whenever this block calls the tower.

        Softmax, norms and the sum that runs through the blocks stay in float32, as all weights do;
        outside, and in a saved file, nothing is left of it. A `tf.function` must be traced inside.

        Args:
            precision: Keras' dtype policy, "float32", "mixed_bfloat16" or "mixed_float16".
        """
        products = [*self.mix, *self.out]
        if self.attention != "hstu":
            products += [*self.up, *self.down]
        usual = products[0].dtype_policy
        for layer in products:
            layer.dtype_policy = precision
        try:
            yield
        finally:
            for layer in products:
                layer.dtype_policy = usual

    def build(self, *_: Any) -> None:
        """Create the start token, the position weights and the blocks."""
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.start = self.add_weight(shape=(1, 1, self.dim), initializer=near, name="start")
        if self.placing in ("absolute", "both"):
            self.positions = self.add_weight(
                shape=(1, self.length, self.dim), initializer=near, name="positions"
            )
        if self.placing in ("relative", "both"):
            shape = (len(self.mix), self.n_heads, self.length)
            self.distances = self.add_weight(shape=shape, initializer=near, name="distances")
        self.event_table.build()
        self.gap_dense.build((None, None, 1))
        parts = [*self.norms, *self.mix, *self.out, self.last_norm]
        if self.attention != "hstu":
            parts += [*self.ffn_norms, *self.up]
            for down in self.down:
                down.build((None, None, int(self.settings["ffn"]) * self.dim))
        for part in parts:
            part.build((None, None, self.dim))
        self.built = True

    def compute_output_shape(self, history_vectors_shape: Any) -> tuple[int | None, ...]:
        """Return the output's shape: without it Keras traces the layer to find it."""
        batch, length, dim = history_vectors_shape
        return batch, None if length is None else length + 1, dim

    def call(
        self, history_vectors: Any, history_events: Any, history_ages_s: Any, training: bool = False
    ) -> Any:
        """Run the blocks; a position depends on earlier positions only."""
        x = self.embed(history_vectors, history_events, history_ages_s)
        x = self.dropout(x, training=training)
        place = np.arange(int(x.shape[1]))
        apart = place[:, None] - place[None]
        for block in range(len(self.mix)):
            bias = np.where(apart >= 0, 0.0, _NEGATIVE).astype(np.float32)[None]
            if self.placing in ("relative", "both"):
                bias = bias + ops.take(self.distances[block], np.maximum(apart, 0), axis=1)
            # bias: [H or 1, l + 1, l + 1]
            x = x + self.attend(block, x, bias, training)
            if self.attention != "hstu":
                x = x + self.dropout(self.feed_forward(block, x), training=training)
        return self.last_norm(x)

    def embed(self, history_vectors: Any, history_events: Any, history_ages_s: Any) -> Any:
        """Return what the first block reads, the start token first; f32 [B, l + 1, d]."""
        # The gap to the event before, not the age: it is known when the event happens, so one pass
        # trains every position without a look at when later events come.
        gaps = ops.maximum(history_ages_s[:, :-1] - history_ages_s[:, 1:], 0.0)
        gaps = ops.concatenate([ops.zeros_like(gaps[:, :1]), gaps], axis=1)
        gaps = ops.expand_dims(_log1p(gaps) / 10.0, -1)  # [B, l, 1]
        x = history_vectors * math.sqrt(self.dim)
        x = x + self.event_table(history_events) + self.gap_dense(gaps)
        start = self.start + ops.zeros_like(x[:, :1])  # [B, 1, d]
        x = ops.concatenate([start, x], axis=1)
        if self.placing in ("absolute", "both"):
            x = x + self.positions[:, : x.shape[1]]
        return x

    def attend(self, block: int, x: Any, bias: Any, training: bool = False) -> Any:
        """Return what a block's attention adds to x, f32 [B, l + 1, d].

        Args:
            block: which.
            x: f32 [B, l + 1, d].
            bias: f32 [H or 1, l + 1, l + 1], added to the scores; -1e9 hides a place.
            training: with dropout.
        """
        mixed = self.activate(self.mix[block](self.norms[block](x)))
        query, key, value, *gate = ops.split(mixed, self.parts, axis=-1)
        return self.mixture(block, (query, *gate), (key, value), bias, training)

    def activate(self, projected: Any) -> Any:
        """Return queries, keys, values and gates as attention takes them, of any shape."""
        return ops.silu(projected) if self.attention == "hstu" else projected

    def mixture(
        self,
        block: int,
        asking: tuple[Any, ...],
        asked: tuple[Any, Any],
        bias: Any,
        training: bool = False,
    ) -> Any:
        """Mix values by query and key, f32 [B, q, d].

        Args:
            block: which.
            asking: query and, unless attention is "softmax", gate; [B, q, d].
            asked: key and value, [B, k, d].
            bias: f32 [H or 1, q, k].
            training: with dropout.
        """
        hstu = self.attention == "hstu"
        (query, *gate), (key, value) = asking, asked
        scores = ops.matmul(self._heads(query), ops.transpose(self._heads(key), (0, 1, 3, 2)))
        scores = ops.cast(scores, "float32") / math.sqrt(self.dim // self.n_heads)  # [B, H, q, k]
        scores = scores + bias
        weights = ops.silu(scores) * (1.0 / self.length) if hstu else ops.softmax(scores)
        weights = ops.cast(weights, value.dtype)
        joined = ops.transpose(ops.matmul(weights, self._heads(value)), (0, 2, 1, 3))
        joined = ops.reshape(joined, (-1, int(query.shape[1]), self.dim))
        if hstu:  # the norm takes the place of softmax's, so the gate comes after it
            joined = ops.layer_normalization(joined, axis=-1, epsilon=1e-6) * gate[0]
            out = self.out[block](self.dropout(joined, training=training))
            return ops.cast(out, "float32")
        if gate:
            joined = joined * ops.silu(gate[0])
        return self.dropout(self.out[block](joined), training=training)

    def _heads(self, x: Any) -> Any:
        shape = (-1, int(x.shape[1]), self.n_heads, self.dim // self.n_heads)
        return ops.transpose(ops.reshape(x, shape), (0, 2, 1, 3))  # [B, H, l + 1, d / H]

    def feed_forward(self, block: int, x: Any) -> Any:
        """Return what a block's second part adds to x [B, n, d]; "hstu" has none."""
        hidden = self.up[block](self.ffn_norms[block](x))
        if self.attention == "gated":
            gate, hidden = ops.split(hidden, 2, axis=-1)
            return self.down[block](ops.silu(gate) * hidden)
        return self.down[block](ops.silu(hidden))

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable(package="pocketrec")
class LastPosition(layers.Layer):
    """Pick index n of [B, L + 1, d], n = history_length [B, 1], by a one-hot product."""

    def __init__(self, *, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def compute_output_shape(self, states_shape: Any) -> tuple[int | None, ...]:
        """Return the output's shape, see `UserTower`."""
        return (states_shape[0], states_shape[-1])

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
        ffn=config.ffn,
        max_history=length,
        n_events=len(spec.event_types),
        attention=config.attention,
        positions=config.positions,
        dropout=config.dropout,
        name="tower",
    )
    last = LastPosition(length=length + 1, name="user_vector")(tower(vectors, events, ages), n)
    return keras.Model([vectors, events, ages, n], last, name="user_tower")


def _norm() -> layers.LayerNormalization:
    return layers.LayerNormalization(epsilon=1e-6)


def _log1p(x: Any) -> Any:
    """log(1 + x), spelt out: ONNX has no Log1p operator and tf2onnx does not rewrite it."""
    return ops.log(x + 1.0)
