"""TFLite files: three variants of a frozen model, with clean names and equal bytes every time."""

import os
from typing import Any

import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from export.errors import ConversionFailed
from export.freeze import ModelFile, ModelSignature

_RUNTIME_KEY = b"min_runtime_version"
_STATEFUL = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CUSTOM")


def to_tflite(frozen: Any, signature: ModelSignature, variant: str) -> ModelFile:
    """Convert a frozen model to TFLite.

    Args:
        frozen: the concrete function of `freeze`.
        signature: names of inputs and output.
        variant: "fp32"; "fp16" (weights stored as float16, computed as float32); "dynamic"
            (weights int8 per channel, activations quantized as they come).

    Raises:
        ConversionFailed: the converter refused, or the result needs more than built-in operations.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        with _quiet():
            data = converter.convert()
    except (ValueError, RuntimeError, tf.errors.OpError) as err:
        raise ConversionFailed(f"{signature.output}: no TFLite {variant} file ({err})") from err
    return _tidy(signature, variant, bytes(data))


def _tidy(signature: ModelSignature, variant: str, data: bytes) -> ModelFile:
    """Check the operations, add a signature, and replace names made of process-wide counters."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if key.isupper()}
    operations = {names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes}
    if wrong := sorted(operations & set(_STATEFUL)):
        raise ConversionFailed(
            f"{signature.output}: the TFLite {variant} file holds {', '.join(wrong)}, which the "
            "built-in runtimes lack. Keep to layers without state."
        )
    if len(model.subgraphs) != 1:
        raise ConversionFailed(
            f"{signature.output}: {len(model.subgraphs)} sub-graphs, expected one"
        )
    graph = model.subgraphs[0]
    inputs = _input_places(signature, graph)
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"t{number}".encode()
    for name, place in inputs.items():
        graph.tensors[place].name = name.encode()
    graph.tensors[graph.outputs[0]].name = signature.output.encode()
    graph.name = signature.output.encode()
    model.description = f"PocketRec {signature.output} {variant}".encode()
    model.signatureDefs = [_signature_def(signature, inputs, graph.outputs[0])]
    least = _min_runtime(model)
    model.metadata = [m for m in model.metadata or [] if m.name == _RUNTIME_KEY]
    data = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return ModelFile(data=data, min_runtime=least)


def _input_places(signature: ModelSignature, graph: Any) -> dict[str, int]:
    """Map each input's name to its tensor; an input that the graph ignores is an error."""
    found = {graph.tensors[i].name.decode().partition(":")[0]: i for i in graph.inputs}
    if found.keys() != set(signature.inputs) or len(graph.outputs) != 1:
        raise ConversionFailed(
            f"{signature.output}: the TFLite file has inputs {sorted(found)}, expected "
            f"{sorted(signature.inputs)} and one output"
        )
    return {name: int(found[name]) for name in signature.inputs}


def _signature_def(signature: ModelSignature, inputs: dict[str, int], output: int) -> Any:
    made = schema.SignatureDefT()
    made.signatureKey = b"serving_default"
    made.subgraphIndex = 0
    made.inputs = [_named(name, place) for name, place in inputs.items()]
    made.outputs = [_named(signature.output, output)]
    return made


def _named(name: str, place: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), place
    return entry


def _min_runtime(model: Any) -> str:
    """Read the least runtime, which the converter derives from the operators' versions."""
    for entry in model.metadata or []:
        if entry.name == _RUNTIME_KEY:
            text = bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode("ascii")
            return text or "0"
    return "0"


class _quiet:
    """Keep the converter's C++ chatter off stderr: it says nothing that a person could act on."""

    def __enter__(self) -> None:
        self._saved = os.dup(2)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
