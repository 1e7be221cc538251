"""One training step of both towers; their weights, averages and best state."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import SLACK, STEPS_PER_OCTAVE
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.recipe.schema import Recipe, RetrievalConfig, uses_time
from pocketrec_training.towers import losses
from pocketrec_training.towers.data_parallel import parallel_step
from pocketrec_training.towers.feature_inputs import NO_FEATURES
from pocketrec_training.towers.item_tower import build_item_tower
from pocketrec_training.towers.schedule import learning_rate
from pocketrec_training.towers.sequences import Windows
from pocketrec_training.towers.user_tower import build_user_tower

_BETA_2 = 0.98
"""Adam's memory of squared gradients: shorter than usual, as in Vaswani et al. 2017, sec. 5.3."""

_NOT_DECAYED = ["bias", "gamma", "beta", "start", "positions", "distances"]


class TowerFit:
    """Both towers, their optimizer, and the compiled step.

    Attributes:
        everything: variables of a checkpoint.
        kept: variables of the two models.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: FeatureSpec,
        data: Dataset,
        inputs: dict[str, NDArray[Any]],
        begin: Callable[[keras.Model, keras.Model], None] | None = None,
        strategy: tf.distribute.Strategy | None = None,
        declared: FittedFeatures = NO_FEATURES,
    ) -> None:
        """Build everything.

        Args:
            recipe: what to train.
            spec: features and vocabularies of it.
            data: sequences; gives popularity and the number of items.
            inputs: the item tower's, for all items in row order.
            begin: sets the first weights of user tower and item tower (a warm start).
            strategy: devices that share each batch; None for one.
            declared: features of the items, as in `inputs`.
        """
        self.config = config = recipe.retrieval
        self.n_items = len(data.items)
        self.shuffles = not uses_time(recipe)
        self.baskets = recipe.split.kind != "leave_last" and not self.shuffles
        with strategy.scope() if strategy else nullcontext():
            self._build(config, spec, inputs, declared, begin)
        self._drawn = _sampling(config, data.popularity())
        self._near = np.zeros((self.n_items, config.hard_negatives), np.int32)
        self.kept = [*self.user_tower.variables, *self.item_tower.variables]
        self.everything = [*self.kept, *self._optimizer.variables, *self._averages]
        # Compiled by XLA, once for each shape of a batch (`Windows.shape`; `docs/quality.md`).
        self._compiled = tf.function(self._step, jit_compile=True)
        self._parallel = parallel_step(strategy, self._step) if strategy else None

    def _build(
        self,
        config: RetrievalConfig,
        spec: FeatureSpec,
        inputs: dict[str, NDArray[Any]],
        declared: FittedFeatures,
        begin: Callable[[keras.Model, keras.Model], None] | None,
    ) -> None:
        """Make all variables, on every device of the strategy in scope."""
        self.user_tower = build_user_tower(config, spec)
        self.item_tower = build_item_tower(config, spec, self.n_items, declared)
        if begin is not None:
            begin(self.user_tower, self.item_tower)
        self.item_tower.get_layer("tower").weigh_tokens(inputs)
        self._inputs = {name: tf.constant(value) for name, value in inputs.items()}
        self._states = self.user_tower.get_layer("tower")
        self._trained = self.user_tower.trainable_variables + self.item_tower.trainable_variables
        self._optimizer = _optimizer(config)
        self._optimizer.build(self._trained)
        self._averages = (
            [tf.Variable(v.numpy(), aggregation=tf.VariableAggregation.MEAN) for v in self._trained]
            if config.average
            else []
        )

    def begin_epoch(self) -> None:
        """Search each item's nearest items, if the recipe uses hard negatives."""
        if self.config.hard_negatives:
            self._near = nearest_items(self.item_table(), self.config.hard_negatives)

    def step(self, part: Windows, done: float, rng: np.random.Generator) -> float:
        """Take one step and return its loss a target; done: share of the schedule, 0..1."""
        config = self.config
        self._optimizer.learning_rate.assign(learning_rate(config, done))
        negatives = np.zeros(0, np.int32)
        if config.loss != "softmax":
            drawn = np.searchsorted(np.cumsum(self._drawn), rng.random(config.negatives))
            negatives = np.minimum(drawn, self.n_items - 1).astype(np.int32)
        windows = (part.rows, part.events, part.ages_s, part.real, part.asked, part.weights)
        quantized = np.bool_(done > config.quantize_from)
        with self._states.computing_in(config.precision):
            if self._parallel is not None:
                return self._parallel(
                    windows, (negatives, self._near, quantized), n_targets=part.weights.sum()
                )
            shared = (part.places, negatives, self._near, quantized)
            return float(self._compiled(*map(tf.constant, windows + shared)))

    def _step(
        self,
        rows: Any,
        events: Any,
        ages: Any,
        real: Any,
        asked: Any,
        weights: Any,
        places: Any,
        drawn: Any,
        near: Any,
        quantized: Any,
        n_targets: Any = None,
    ) -> Any:
        """Take one step on the arrays of `Windows`; drawn: rows of negatives, near: hard ones.

        n_targets: weight of all targets of the batch, where this is a device's part of it.
        """
        flat = tf.reshape(rows, [-1])
        targets, weights = tf.gather(flat, places), tf.gather(tf.reshape(weights, [-1]), places)
        with tf.GradientTape() as tape:
            if self.config.loss == "softmax":
                table = self._item_vectors(None, quantized)
                past = tf.gather(table, flat)  # [B l, d]
            else:
                both = self._item_vectors(tf.concat([flat, drawn], 0), quantized)
                past, others = both[: flat.shape[0]], both[flat.shape[0] :]
                wanted = tf.gather(past, places)
            if self.config.id_dropout:
                # What the phone reads are items with their ids: they are dropped from targets only
                # (retail validation, NDCG@10 .067 -> .079; new items, Recall .303 -> .316).
                past = self._item_vectors(flat, quantized, training=False)
            vectors = tf.reshape(past, (*rows.shape, past.shape[-1])) * real[..., None]
            states = self._states(vectors, events, ages, training=True)  # [B, l + 1, d]
            # Item n is predicted from the n events before it, or from those before its basket.
            users = tf.gather(states, asked, batch_dims=1) if self.baskets else states[:, :-1]
            users = tf.gather(tf.reshape(users, past.shape), places)  # [T, d]
            if self.config.loss == "softmax":
                total = losses.full_softmax(users, table, targets, weights)
            else:
                total = self._sampled(
                    users, wanted, others, targets, drawn, near, weights, quantized
                )
            n_targets = tf.reduce_sum(weights) if n_targets is None else n_targets
            loss = total / tf.maximum(n_targets, 1.0)
            scaled = self._optimizer.scale_loss(loss)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(scaled, self._trained)]
        self._optimizer.apply_gradients(zip(gradients, self._trained, strict=True))
        # A young average follows quickly, so that it holds nothing of the first random weights.
        age = tf.cast(self._optimizer.iterations, tf.float32)
        pace = tf.minimum(self.config.average, age / (age + 10.0))
        for average, variable in zip(self._averages, self._trained, strict=bool(self._averages)):
            average.assign(pace * average + (1.0 - pace) * variable)
        return loss

    def _sampled(
        self,
        users: Any,
        wanted: Any,
        others: Any,
        targets: Any,
        drawn: Any,
        near: Any,
        weights: Any,
        quantized: Any,
    ) -> Any:
        config = self.config
        if config.loss == "gbce":
            return losses.gbce(
                users,
                wanted,
                others,
                targets=targets,
                negative_rows=drawn,
                n_items=self.n_items,
                calibration=config.gbce_t,
                weights=weights,
            )
        hard = None
        if config.hard_negatives:
            rows = tf.reshape(tf.gather(near, targets), [-1])
            shape = (targets.shape[0], config.hard_negatives, users.shape[-1])
            hard = tf.reshape(self._item_vectors(rows, quantized), shape)
        expected = np.log(np.maximum(self._drawn * config.negatives, 1e-12))
        return losses.sampled_softmax(
            users,
            wanted,
            others,
            targets=targets,
            negative_rows=drawn,
            log_expected=tf.constant(expected.astype(np.float32)),
            weights=weights,
            hard=hard,
        )

    def _item_vectors(self, rows: Any, quantized: Any, training: bool = True) -> Any:
        """Run the item tower for some rows, None for all; float32 [n, d]."""
        inputs = self._inputs
        if rows is not None:
            inputs = {name: tf.gather(value, rows) for name, value in inputs.items()}
        vectors = self.item_tower(inputs, training=training)
        # Not a Python condition: each of its values would have a graph to compile.
        return tf.where(quantized, int8_rows(vectors), vectors)

    def item_table(self) -> Floats32:
        """Return the item matrix of the current weights, float32 [n_items, d]."""
        return np.asarray(self.item_tower(self._inputs, training=False), np.float32)

    def snapshot(self) -> list[Any]:
        """Copy the models' values in the order of `kept`, averaged if the recipe says so."""
        averages = {id(v): a for v, a in zip(self._trained, self._averages, strict=False)}
        return [averages.get(id(v), v).numpy() for v in self.kept]

    def restore(self, values: list[Any]) -> None:
        """Set the models to a snapshot's values."""
        for variable, value in zip(self.kept, values, strict=True):
            variable.assign(value)


def _optimizer(config: RetrievalConfig) -> keras.optimizers.Optimizer:
    """Adam with what the recipe asks for; LossScaleOptimizer around it in float16."""
    adam = keras.optimizers.Adam(
        config.learning_rate, beta_2=_BETA_2, weight_decay=config.weight_decay or None
    )
    if config.weight_decay:
        adam.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if config.precision != "mixed_float16":
        return adam
    # Below 6e-8 a gradient in float16 is 0; a step that overflows is left out, the scale halved.
    return keras.optimizers.LossScaleOptimizer(adam)


def int8_rows(vectors: Any) -> Any:
    """Round to what the phone's int8 rows hold; the gradient passes as if nothing were rounded.

    Args:
        vectors: float32 [n, d]; the rounding is that of `pocketrec_bundle.quantize.quantize_rows`.
    """
    largest = tf.reduce_max(tf.abs(vectors), axis=1, keepdims=True) / 127.0
    # In float64, as there: a scale next to a step must fall to the same side of it.
    octaves = tf.math.log(tf.cast(tf.maximum(largest, 1e-12), tf.float64)) / math.log(2.0)
    steps = tf.math.ceil(octaves * STEPS_PER_OCTAVE - SLACK)
    scales = tf.cast(2.0 ** (steps / STEPS_PER_OCTAVE), tf.float32)
    rounded = tf.clip_by_value(tf.round(vectors / scales), -127.0, 127.0) * scales
    return vectors + tf.stop_gradient(rounded - vectors)


def nearest_items(table: Floats32, k: int, part: int = 1024) -> NDArray[np.int32]:
    """Return each item's k nearest others by cosine, int32 [n, k], in parts to bound memory."""
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    found = []
    for at in range(0, len(unit), part):
        cosine = unit[at : at + part] @ unit.T
        cosine[np.arange(len(cosine)), np.arange(at, at + len(cosine))] = -np.inf
        found.append(np.argpartition(-cosine, k - 1, axis=1)[:, :k])
    return np.concatenate(found).astype(np.int32)


def _sampling(config: RetrievalConfig, popularity: Floats32) -> NDArray[np.float64]:
    """Chance of each item to be drawn as a negative; uniform for gBCE, which assumes it."""
    power = 0.0 if config.loss == "gbce" else config.negative_power
    weights = np.power(popularity.astype(np.float64) + 1.0, power)
    return np.asarray(weights / weights.sum())
