"""ONNX with int8 products whose scales were fixed at export, in the QDQ form.

Quantized are products with weights, per output channel; all other arithmetic is float. With every
operation in int8 the user tower's least cosine with fp32 was .58 (MovieLens-100K), so that is not
made.

ONNX Runtime adds pairs of products in 16 bits on x86 with AVX2 and without VNNI, and they saturate.
So weights have 7 bits (`reduce_range`). The largest error of an untrained user tower, of size 1, is
then .056 with and without VNNI; weights of 8 bits have .041 with VNNI and .74 without.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pocketrec_export.models.freeze import ModelSignature
from pocketrec_export.models.onnx_quantizer import PRODUCTS, quantized

_MOVES = ("Reshape", "Transpose")
VECTORS = "item_embeddings"
"""Input of vector features."""


def static(
    model: onnx.ModelProto, signature: ModelSignature, calibration: Sequence[dict[str, Any]]
) -> onnx.ModelProto:
    """Quantize a tidy float32 model, in place.

    The last product, those that read what a gate multiplied, and those of vector features have int8
    weights and float arithmetic, for the reasons in `pocketrec_export.models.tflite_static`.

    Raises:
        ConversionFailedError: the quantizer refused.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    fixed = {tensor.name for tensor in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type in PRODUCTS and n.input[1] in fixed]
    delicate = [
        n
        for n in products
        if n is products[-1] or _reads_a_gate(model, n, fixed) or _reads_vectors(model, n)
    ]
    for node in delicate:
        _store_as_int8(model, node)
    chosen = [node.name for node in products if node not in delicate]
    if not chosen:
        return model  # the quantizer would take an empty list for all operations
    return quantized(
        signature,
        "int8",
        lambda path: quantize_static(
            model,
            path,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        ),
    )


class _Reader:
    """Calibration inputs, as the quantizer asks for them."""

    def __init__(self, inputs: Sequence[dict[str, Any]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)


def _reads_a_gate(model: onnx.ModelProto, node: onnx.NodeProto, fixed: set[str]) -> bool:
    maker = {name: one for one in model.graph.node for name in one.output}
    source = maker.get(node.input[0])
    while source is not None and source.op_type in _MOVES:
        source = maker.get(source.input[0])
    return source is not None and source.op_type == "Mul" and not fixed & set(source.input)


def _reads_vectors(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    maker = {name: one for one in model.graph.node for name in one.output}
    name = node.input[0]
    while name in maker and maker[name].op_type in (*_MOVES, "Slice"):
        name = maker[name].input[0]
    return bool(name == VECTORS)


def _store_as_int8(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Replace a product's weights [in, out] by int8, symmetric by column, and DequantizeLinear."""
    graph, name = model.graph, node.input[1]
    (tensor,) = (one for one in graph.initializer if one.name == name)
    weights = numpy_helper.to_array(tensor)
    axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    largest = np.abs(weights).max(axis=1 - axis, keepdims=True)
    scales = np.maximum(largest, 1e-12) / 127
    rows = np.clip(np.rint(weights / scales), -127, 127).astype(np.int8)
    tensor.CopyFrom(numpy_helper.from_array(rows, f"{name}_i8"))
    graph.initializer.append(
        numpy_helper.from_array(scales.astype(np.float32).ravel(), f"{name}_scales")
    )
    inputs = [f"{name}_i8", f"{name}_scales"]
    graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], name, axis=axis))
