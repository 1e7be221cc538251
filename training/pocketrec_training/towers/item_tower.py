"""The item tower: id embedding + content. It stays on the server; the phone gets its output."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.recipe.schema import RetrievalConfig
from pocketrec_training.towers.feature_inputs import NO_FEATURES, input_sizes, text_inputs
from pocketrec_training.towers.item_content import MAX_TITLE_TOKENS, N_YEARS, YEARS_A_BUCKET

_PRICES = np.linspace(0.0, 8.0, 33, dtype=np.float32)[None]
"""Centres of the soft price buckets, in log(1 + price): a price belongs to the nearest few."""


@keras.saving.register_keras_serializable(package="pocketrec")
class ItemTower(layers.Layer):
    """Item id embedding + content; the id is dropped at random so that content can stand alone.

    Each call draws the dropped ids. So content alone represents an item in a share `id_dropout` of
    the steps, as it must for a new item (DropoutNet; Volkovs, Yu and Poutanen 2017).

    Inputs (all [N, ...]): ids i32 [N] (0 = unknown, else 1 + row), tokens i32 [N, T] (0 = padding),
    categories i32 [N, C] (0 = padding), years i32 [N, 2] (0 = unknown), price f32 [N]
    (-1 = unknown), then one of each declared feature (`feature_inputs`). Output: f32 [N, d].
    """

    def __init__(
        self,
        *,
        dim: int,
        n_items: int,
        title_buckets: int,
        n_categories: int,
        id_dropout: float,
        features: Mapping[str, tuple[int, int]] | None = None,
        texts: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        """Set the sizes.

        Args:
            dim: d.
            n_items: known items.
            title_buckets: buckets of words.
            n_categories: of the release.
            id_dropout: share of ids that a step drops.
            features: input of each declared feature -> its width and its number of codes; 0 codes:
                it has numbers.
            texts: inputs of `features` that hold words.
            **kwargs: settings of a Keras layer.
        """
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "dim": dim,
            "n_items": n_items,
            "title_buckets": title_buckets,
            "n_categories": n_categories,
            "id_dropout": id_dropout,
            "features": {name: list(sizes) for name, sizes in (features or {}).items()},
            "texts": list(texts),
        }
        near = keras.initializers.RandomNormal(stddev=0.02)
        self.id_dropout = id_dropout
        self.seeds = keras.random.SeedGenerator()
        self.id_table = layers.Embedding(n_items + 1, dim, embeddings_initializer=near)
        # Zeros, not noise: a word, category or year that training never met adds nothing to a new
        # item, where a random vector would be half as long as a learnt one.
        self.token_table = _zeros(title_buckets + 1, dim)
        self.category_table = _zeros(n_categories + 1, dim)
        self.year_table = _zeros(N_YEARS + 1, dim)
        self.year_bucket_table = _zeros(N_YEARS // YEARS_A_BUCKET + 1, dim)
        self.price_dense = _dense(dim)
        for name, (_, n_codes) in self.settings["features"].items():
            setattr(self, name, _zeros(n_codes + 1, dim) if n_codes else _dense(dim))

    def build(self, *_: Any, **__: Any) -> None:
        """Create the tokens' weights, alike until `weigh_tokens`, and the parts."""
        self.token_weights = self._weights_of("token", self.settings["title_buckets"])
        self.text_weights = {
            name: self._weights_of(name, self.settings["features"][name][1])
            for name in self.settings["texts"]
        }
        for table in (
            self.id_table,
            self.token_table,
            self.category_table,
            self.year_table,
            self.year_bucket_table,
        ):
            table.build()
        self.price_dense.build((None, _PRICES.shape[1]))
        for name, (width, _) in self.settings["features"].items():
            getattr(self, name).build((None, width))
        self.built = True

    def _weights_of(self, name: str, n_codes: int) -> Any:
        return self.add_weight(
            shape=(n_codes + 1,), initializer="ones", trainable=False, name=f"{name}_weights"
        )

    def compute_output_shape(self, ids_shape: Any, **_: Any) -> tuple[int | None, ...]:
        """Return the output's shape: without it Keras traces the layer to find it."""
        return (ids_shape[0], int(self.settings["dim"]))

    def weigh_tokens(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Weight tokens of titles and texts by rarity (IDF), log((1 + n) / (1 + n_with)).

        A token of one item only has weight 0: it would act as the item's id.
        Without this, recall of new products was a seventh lower (`docs/quality-cold.md`).

        Args:
            inputs: of the items of training; tokens int32 [n, T], and the same for each text.
        """
        _weigh(self.token_weights, inputs["tokens"])
        for name, weights in self.text_weights.items():
            _weigh(weights, inputs[name])

    def call(
        self,
        ids: Any,
        tokens: Any,
        categories: Any,
        years: Any,
        price: Any,
        training: bool = False,
        **features: Any,
    ) -> Any:
        """Sum the parts; an unknown id adds nothing."""
        keep = ops.cast(ids > 0, "float32")
        if training and self.id_dropout > 0:
            draw = keras.random.uniform(ops.shape(keep), seed=self.seeds)
            keep = keep * ops.cast(draw >= self.id_dropout, "float32")
        exact, bucket = ops.cast(years[:, :1], "int32"), ops.cast(years[:, 1:], "int32")
        vector = (
            self.id_table(ids) * ops.expand_dims(keep, -1)
            + _sum(self.token_table(tokens), _rarity(self.token_weights, tokens))
            + _sum(self.category_table(categories), categories > 0)
            + _sum(self.year_table(exact), exact > 0)
            + _sum(self.year_bucket_table(bucket), bucket > 0)
            + self.price_dense(_price_buckets(price))
        )
        for name, (_, n_codes) in self.settings["features"].items():
            part, values = getattr(self, name), features[name]
            if not n_codes:
                vector = vector + part(values)
            elif name in self.text_weights:
                vector = vector + _sum(part(values), _rarity(self.text_weights[name], values))
            else:
                vector = vector + _sum(part(values), values > 0)
        return vector

    def get_config(self) -> dict[str, Any]:
        """Return the settings, for the .keras file."""
        return {**super().get_config(), **self.settings}


def build_item_tower(
    config: RetrievalConfig,
    spec: FeatureSpec,
    n_items: int,
    declared: FittedFeatures = NO_FEATURES,
) -> keras.Model:
    """Build the item tower with named inputs, see `ItemTower`."""
    inputs = {
        "ids": keras.Input((), dtype="int32", name="ids"),
        "tokens": keras.Input((MAX_TITLE_TOKENS,), dtype="int32", name="tokens"),
        "categories": keras.Input((spec.max_categories,), dtype="int32", name="categories"),
        "years": keras.Input((2,), dtype="int32", name="years"),
        "price": keras.Input((), name="price"),
        **{
            name: keras.Input((width,), dtype="int32" if n_codes else "float32", name=name)
            for name, (width, n_codes) in input_sizes(declared).items()
        },
    }
    tower = ItemTower(
        dim=spec.dim,
        n_items=n_items,
        title_buckets=config.title_buckets,
        n_categories=len(spec.categories),
        id_dropout=config.id_dropout,
        features=input_sizes(declared),
        texts=text_inputs(declared),
        name="tower",
    )
    return keras.Model(inputs, tower(**inputs), name="item_tower")


def _dense(dim: int) -> layers.Dense:
    return layers.Dense(dim, kernel_initializer="zeros", use_bias=False)


def _zeros(n: int, dim: int) -> layers.Embedding:
    return layers.Embedding(n, dim, embeddings_initializer="zeros")


def _weigh(weights: Any, tokens: NDArray[np.int32]) -> None:
    ordered = np.sort(tokens, axis=1)
    first = np.diff(ordered, axis=1, prepend=0) > 0  # each token once an item
    found = np.bincount(ordered[first], minlength=int(weights.shape[0]))
    rarity = np.log((1.0 + len(tokens)) / (1.0 + found))
    weights.assign(np.where(found > 1, rarity, 0.0).astype(np.float32))


def _rarity(weights: Any, tokens: Any) -> Any:
    return ops.take(weights, tokens) * ops.cast(tokens > 0, "float32")


def _sum(vectors: Any, weights: Any) -> Any:
    """Sum [N, T, d] over axis 1 by the weights [N, T], which are first brought to length 1.

    So few and many unrelated vectors give the same length, as in tf-idf; a mean would make long
    titles short vectors.
    """
    weights = ops.cast(weights, "float32")
    length = ops.sqrt(ops.sum(ops.square(weights), axis=1, keepdims=True))  # [N, 1]
    weights = weights / ops.maximum(length, 1e-6)
    return ops.sum(vectors * ops.expand_dims(weights, -1), axis=1)


def _price_buckets(price: Any) -> Any:
    """Return how near a price is to each bucket's centre, float32 [N, 33]; zeros if unknown."""
    logs = ops.expand_dims(ops.log1p(ops.maximum(price, 0.0)), -1)
    near = ops.exp(-ops.square((logs - _PRICES) / 0.25) / 2.0)
    return near * ops.expand_dims(ops.cast(price >= 0, "float32"), -1)
