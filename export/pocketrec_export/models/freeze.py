"""Freeze a Keras model: one graph of fixed shapes, weights as constants, inputs by name.

Both converters start from this graph. From a live Keras 3 model they would write variable reads,
which no phone can run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.item_features import input_widths
from pocketrec_bundle.features import FeatureSpec
from pocketrec_export.models import ranker_form, tower_form
from pocketrec_training.towers.feature_inputs import NO_FEATURES


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """Named inputs with fixed shapes and dtypes, and the output's name."""

    inputs: dict[str, tuple[tuple[int, ...], Any]]
    output: str


def tower_signature(spec: FeatureSpec) -> ModelSignature:
    """Inputs of the user tower, as in FORMAT.md."""
    length = spec.max_history
    return ModelSignature(
        inputs={
            "history_vectors": ((1, length, spec.dim), tf.float32),
            "history_events": ((1, length), tf.int32),
            "history_ages_s": ((1, length), tf.float32),
            "history_length": ((1,), tf.int32),
        },
        output="user_vector",
    )


def ranker_signature(spec: FeatureSpec, declared: FittedFeatures = NO_FEATURES) -> ModelSignature:
    """Inputs of the ranker, as in FORMAT.md.

    Args:
        spec: of the release.
        declared: features that the ranker reads beside the columns of the spec.
    """
    batch = spec.candidates
    return ModelSignature(
        inputs={
            "user_vector": ((1, spec.dim), tf.float32),
            "item_vectors": ((batch, spec.dim), tf.float32),
            "item_categories": ((batch, spec.max_categories), tf.int32),
            "item_numeric": ((batch, len(spec.numeric)), tf.float32),
            "context": ((1, len(spec.context)), tf.float32),
            "pair": ((batch, len(spec.pair)), tf.float32),
            **{
                name: ((batch, width), tf.int32 if name == "item_codes" else tf.float32)
                for name, width in input_widths(declared).items()
            },
        },
        output="probabilities",
    )


def as_function(model: keras.Model, signature: ModelSignature) -> Any:
    """Return f(**inputs) -> output tensor of the Keras model, the reference for parity.

    The graph is traced once for each shape, because an export calls it some hundred times.
    """
    names = [tensor.name for tensor in model.inputs]

    def call(**inputs: Any) -> Any:
        ordered = [inputs[name] for name in names]
        found = model(ordered if isinstance(model.input, list) else inputs, training=False)
        return tf.identity(found, name=signature.output)

    return tf.function(call, autograph=False)


def run_keras(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Run the Keras model on the device's inputs; returns a numpy array."""
    return np.asarray(function(**{name: tf.constant(v) for name, v in inputs.items()}))


def freeze(model: keras.Model, signature: ModelSignature) -> Any:
    """Trace a model's exported form with static shapes and turn its variables into constants."""
    specs = {
        name: tf.TensorSpec(shape, dtype, name=name)
        for name, (shape, dtype) in signature.inputs.items()
    }
    form = ranker_form.exported_form(tower_form.exported_form(model))
    function = as_function(form, signature)
    return convert_variables_to_constants_v2(function.get_concrete_function(**specs))
