"""One Keras model to TFLite and ONNX files: fp32, fp16 and dynamic-range int8.

Both start from one frozen graph with fixed shapes. Converting Keras 3 functions without freezing
leaves READ_VARIABLE ops, which fail on the device.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxslim
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from bundle.features import FeatureSpec

OPSET = 17
ENGINES = ("litert", "onnx")
_MIN_HALVED = 64  # smaller constants cost more as fp16, with their cast


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """Named inputs with fixed shapes and dtypes, and the output's name."""

    inputs: dict[str, tuple[tuple[int, ...], Any]]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One file: bytes of a model for an engine, and the least runtime that loads it."""

    engine: str
    variant: str
    data: bytes
    min_runtime: str


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


def ranker_signature(spec: FeatureSpec) -> ModelSignature:
    """Inputs of the ranker, as in FORMAT.md."""
    batch = spec.candidates
    return ModelSignature(
        inputs={
            "user_vector": ((1, spec.dim), tf.float32),
            "item_vectors": ((batch, spec.dim), tf.float32),
            "item_categories": ((batch, spec.max_categories), tf.int32),
            "item_numeric": ((batch, len(spec.numeric)), tf.float32),
            "context": ((1, len(spec.context)), tf.float32),
            "user_categories": ((1, len(spec.categories) + 1), tf.float32),
        },
        output="probabilities",
    )


def as_function(model: keras.Model, signature: ModelSignature) -> Callable[..., Any]:
    """Return f(**inputs) -> output array of the Keras model: the truth for parity."""
    names = [tensor.name for tensor in model.inputs]

    def call(**inputs: Any) -> Any:
        ordered = [inputs[name] for name in names]
        found = model(ordered if isinstance(model.input, list) else inputs, training=False)
        return tf.identity(found, name=signature.output)

    return call


def convert(
    model: keras.Model, signature: ModelSignature, variants: tuple[str, ...]
) -> list[Converted]:
    """Convert a model to every variant for both engines; equal models give equal bytes."""
    function = tf.function(as_function(model, signature))
    specs = {
        name: tf.TensorSpec(shape, dtype, name=name)
        for name, (shape, dtype) in signature.inputs.items()
    }
    concrete = function.get_concrete_function(**specs)
    frozen = convert_variables_to_constants_v2(concrete)
    plain_onnx = _onnx(frozen, signature)
    found = []
    for variant in variants:
        found.append(
            Converted(
                engine="litert",
                variant=variant,
                data=_tflite(frozen, variant),
                # Per-channel dynamic range needs FULLY_CONNECTED version 12.
                min_runtime="2.16" if variant == "dynamic" else "2.14",
            )
        )
        found.append(
            Converted(
                engine="onnx",
                variant=variant,
                data=_onnx_variant(plain_onnx, variant),
                min_runtime="1.14",
            )
        )
    return found


def _tflite(frozen: Any, variant: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    data: bytes = converter.convert()
    return data


def _onnx(frozen: Any, signature: ModelSignature) -> onnx.ModelProto:
    graph_def = frozen.graph.as_graph_def()
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    proto, _ = tf2onnx.convert.from_graph_def(
        graph_def, input_names=inputs, output_names=outputs, opset=OPSET
    )
    renames = {name: name.partition(":")[0] for name in inputs} | {outputs[0]: signature.output}
    for node in proto.graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    for value in [*proto.graph.input, *proto.graph.output]:
        value.name = renames.get(value.name, value.name)
    proto.graph.name, proto.producer_version = "pocketrec", ""
    slimmed: onnx.ModelProto = onnxslim.slim(proto)
    return slimmed


def _onnx_variant(plain: onnx.ModelProto, variant: str) -> bytes:
    proto = onnx.ModelProto()
    proto.CopyFrom(plain)
    if variant == "fp16":
        _halve_weights(proto)
    elif variant == "dynamic":
        with tempfile.TemporaryDirectory() as scratch:
            source, target = Path(scratch) / "a.onnx", Path(scratch) / "b.onnx"
            onnx.save(proto, source)
            quantize_dynamic(
                source,
                target,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # Shape inference stops at some of tf2onnx's reshapes; everything here is float.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
            proto = onnx.load(target)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _halve_weights(proto: onnx.ModelProto) -> None:
    """Store weights as fp16, compute in fp32, as TFLite does.

    Ages in seconds and raw counts exceed fp16's 65,504, so fp16 arithmetic gives infinities.
    """
    for tensor in proto.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        if values.size < _MIN_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16")
        tensor.CopyFrom(half)
        cast = onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT)
        proto.graph.node.insert(0, cast)


def run_keras(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    """Run the Keras model on the device's inputs; returns a numpy array."""
    return np.asarray(function(**{name: tf.constant(v) for name, v in inputs.items()}))
