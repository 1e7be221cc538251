"""The item tower: id embedding + content. It stays on the server; the phone gets its output."""

from typing import Any
from zlib import crc32

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from bundle.features import FeatureSpec
from training.dataset import Items, category_codes
from training.recipe import RetrievalConfig

MAX_TITLE_TOKENS = 12
N_YEAR_BUCKETS = 32


@keras.saving.register_keras_serializable(package="pocketrec")
class ItemTower(layers.Layer):
    """Item id embedding + content; the id is dropped at random so that content can stand alone.

    Inputs (all [N, ...]): ids i32 [N] (0 = unknown, else 1 + row), tokens i32 [N, T] (0 = padding),
    categories i32 [N, C] (0 = padding), year_bucket i32 [N], price f32 [N] (-1 = unknown).
    Output: f32 [N, d].
    """

    def __init__(
        self,
        *,
        dim: int,
        n_items: int,
        title_buckets: int,
        n_categories: int,
        id_dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "dim": dim,
            "n_items": n_items,
            "title_buckets": title_buckets,
            "n_categories": n_categories,
            "id_dropout": id_dropout,
        }
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.id_dropout = id_dropout
        self.seeds = keras.random.SeedGenerator()
        self.id_table = layers.Embedding(n_items + 1, dim, embeddings_initializer=near)
        self.token_table = layers.Embedding(title_buckets + 1, dim, embeddings_initializer=near)
        self.category_table = layers.Embedding(n_categories + 1, dim, embeddings_initializer=near)
        self.year_table = layers.Embedding(N_YEAR_BUCKETS, dim, embeddings_initializer=near)
        self.price_dense = layers.Dense(dim, kernel_initializer=near, use_bias=False)

    def build(self, *_: Any, **__: Any) -> None:
        """Nothing of its own to create; the parts build themselves when first called."""
        self.built = True

    def call(
        self,
        ids: Any,
        tokens: Any,
        categories: Any,
        year_bucket: Any,
        price: Any,
        training: bool = False,
    ) -> Any:
        """Sum the parts; an unknown id adds nothing."""
        keep = ops.cast(ids > 0, "float32")
        if training and self.id_dropout > 0:
            draw = keras.random.uniform(ops.shape(keep), seed=self.seeds)
            keep = keep * ops.cast(draw >= self.id_dropout, "float32")
        price = ops.expand_dims(ops.log1p(ops.maximum(price, 0.0)), -1)
        return (
            self.id_table(ids) * ops.expand_dims(keep, -1)
            + _mean(self.token_table(tokens), tokens)
            + _mean(self.category_table(categories), categories)
            + self.year_table(year_bucket)
            + self.price_dense(price)
        )

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), **self.settings}


def build_item_tower(config: RetrievalConfig, spec: FeatureSpec, n_items: int) -> keras.Model:
    """Build the item tower with named inputs, see `ItemTower`."""
    inputs = {
        "ids": keras.Input((), dtype="int32", name="ids"),
        "tokens": keras.Input((MAX_TITLE_TOKENS,), dtype="int32", name="tokens"),
        "categories": keras.Input((spec.max_categories,), dtype="int32", name="categories"),
        "year_bucket": keras.Input((), dtype="int32", name="year_bucket"),
        "price": keras.Input((), name="price"),
    }
    tower = ItemTower(
        dim=spec.dim,
        n_items=n_items,
        title_buckets=config.title_buckets,
        n_categories=len(spec.categories),
        id_dropout=config.id_dropout,
        name="tower",
    )
    return keras.Model(inputs, tower(**inputs), name="item_tower")


def item_inputs(
    spec: FeatureSpec, items: Items, title_buckets: int, *, known: bool = True
) -> dict[str, NDArray[Any]]:
    """Encode items for the item tower; `known=False` leaves the id out (new items).

    Title tokens are CRC-32 hashed into buckets: stable over machines, unlike Python's `hash`.
    """
    n = len(items)
    tokens = np.zeros((n, MAX_TITLE_TOKENS), np.int32)
    for row, title in enumerate(items.titles):
        words = title.lower().replace(",", " ").split()[:MAX_TITLE_TOKENS]
        tokens[row, : len(words)] = [crc32(w.encode()) % title_buckets + 1 for w in words]
    year = np.where(items.year >= 0, np.clip((items.year - 1920) // 4 + 2, 1, 31), 0)
    assert int(year.max(initial=0)) < N_YEAR_BUCKETS
    return {
        "ids": np.arange(1, n + 1, dtype=np.int32) if known else np.zeros(n, np.int32),
        "tokens": tokens,
        "categories": category_codes(spec, items.categories),
        "year_bucket": year.astype(np.int32),
        "price": items.price,
    }


def _mean(vectors: Any, codes: Any) -> Any:
    """Mean over axis 1 of the vectors whose code is not 0; zeros where all are."""
    weight = ops.expand_dims(ops.cast(codes > 0, "float32"), -1)
    return ops.sum(vectors * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1.0)
