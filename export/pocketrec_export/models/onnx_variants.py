"""Smaller variants of an ONNX model: fp16, dynamic-range int8, static int8."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pocketrec_export.models.freeze import ModelSignature
from pocketrec_export.models.onnx_quantizer import PRODUCTS, quantized
from pocketrec_export.models.onnx_static import static
from pocketrec_export.models.onnx_tidy import tidy

_MIN_HALVED = 64
"""Constants below this many numbers stay float32: a cast would cost more than it saves."""


def variant_of(
    model: onnx.ModelProto,
    signature: ModelSignature,
    variant: str,
    calibration: Sequence[dict[str, Any]],
) -> bytes:
    """Return a variant's file.

    Args:
        model: of `to_onnx`; left as it is.
        signature: names of inputs and output.
        variant: "fp32"; "fp16" (stored, not computed); "dynamic" (weights int8, activations
            quantized as they come); "int8" (scales fixed at export).
        calibration: inputs by name, for "int8".

    Raises:
        ConversionFailedError: the quantizer refused the model.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if variant == "fp16":
        _halve(made)
    elif variant == "dynamic":
        made = tidy(signature, _quantize(signature, made))
    elif variant == "int8":
        made = tidy(signature, static(made, signature, calibration))
    return bytes(made.SerializeToString(deterministic=True))


def _halve(model: onnx.ModelProto) -> None:
    """Store large constants as float16 and cast them back; all arithmetic stays float32.

    A float16 graph is the alternative: it has no faster kernels on phone CPUs' ONNX Runtime, and
    ages in seconds (up to 1e9) overflow float16's 65,504 on the way in.
    """
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _MIN_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_h"))
        casts.append(helper.make_node("Cast", [f"{name}_h"], [name], name, to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _quantize(signature: ModelSignature, model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Weights as uint8: on x86 without VNNI the int8 x uint8 product saturates at 16 bits.
    return quantized(
        signature,
        "dynamic",
        lambda path: quantize_dynamic(
            model,
            path,
            op_types_to_quantize=[*PRODUCTS],
            per_channel=True,
            weight_type=QuantType.QUInt8,
        ),
    )
