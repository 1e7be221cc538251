"""TFLite files with int8 arithmetic whose scales are fixed at export: "int8" and "selective".

Both start from the fp32 file: ai-edge-quantizer takes one instruction an operation, and the least
and largest value of each tensor on calibration inputs. Weights are int8 per output channel. Raw
inputs (ages of 1e8 seconds, years, prices) stay float until the first product has read them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from tensorflow.lite.python.convert import mlir_sparsify

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models import tflite_graph
from pocketrec_export.models.freeze import ModelSignature
from pocketrec_export.models.tflite import quiet
from pocketrec_export.models.tflite_graph import Operation
from pocketrec_export.models.tflite_tidy import tidy

_PRODUCT = "FULLY_CONNECTED"
VECTORS = "item_embeddings"
"""Input of vector features."""
_PER_CHANNEL_VERSION = 10
_MOVES = ("RESHAPE", "TRANSPOSE")
_INTEGER = (
    _PRODUCT,
    *("BATCH_MATMUL", "ADD", "SUB", "MUL", "MEAN", "SUM", "SQUARED_DIFFERENCE", "RSQRT"),
    *("SOFTMAX", "LOGISTIC", "CONCATENATION", "SPLIT", "STRIDED_SLICE", "GATHER", *_MOVES),
)
"""What "int8" computes in integers, of what our graphs hold behind a product.

DIV is left out: tflite-runtime 2.14 loads it in int8 and fails when it runs it.
"""


def static(
    fp32: bytes, signature: ModelSignature, variant: str, calibration: Sequence[dict[str, Any]]
) -> bytes:
    """Quantize a tidy fp32 file.

    Args:
        fp32: of `to_tflite`.
        signature: names of inputs and output.
        variant: "int8": every operation behind the first product, inputs and output float;
            "selective": products with weights only, see `_selective`.
        calibration: inputs by name, from the training log.

    Raises:
        ConversionFailedError: the quantizer refused.
    """
    model = tflite_graph.read(fp32)
    recipe = _full(model) if variant == "int8" else _selective(model)
    try:
        with quiet():
            seen = Calibrator(fp32, num_threads=1, qsv_update_func=min_max_update)
            # The library's own rule, a moving average, cuts off what is rare: the least cosine of
            # a user vector fell from .995 to .953 (MovieLens-100K, products alone in int8).
            seen.calibrate({"serving_default": list(calibration)}, recipe)
            quantizer = Quantizer(fp32, recipe.get_quantization_recipe())
            made = quantizer.quantize(
                seen.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False
            )
            data = _with_true_versions(bytes(made.quantized_model))
    except (ValueError, RuntimeError, KeyError, TypeError) as err:
        raise ConversionFailedError(
            f"{signature.output}: no TFLite {variant} file ({err})"
        ) from err
    return tidy(signature, variant, _refused_by_old_runtimes(data))


def _with_true_versions(data: bytes) -> bytes:
    """State what version each operator needs, as TensorFlow's own writer does.

    The quantizer keeps those of the float file, so that an old runtime would load what it cannot
    compute. The writer gets weights of ones: it stores weights with many zeros (64% of a layer, in
    a ranker with strong weight decay) as sparse, and LiteRT does not load such a file.
    """
    model, dense = tflite_graph.read(data), tflite_graph.read(data)
    for tensor in dense.subgraphs[0].tensors:
        held = dense.buffers[tensor.buffer]
        if tensor.type == schema.TensorType.INT8 and held.data is not None:
            held.data = np.ones(len(held.data), np.uint8)
    stated = tflite_graph.versions(tflite_graph.read(mlir_sparsify(tflite_graph.write(dense))))
    for code in model.operatorCodes:
        code.version = max(code.version, stated.get(tflite_graph.name_of(code), 1))
    return tflite_graph.write(model)


def _refused_by_old_runtimes(data: bytes) -> bytes:
    """Raise the version of products to what computes int8 weights per channel.

    TensorFlow states version 4 or 5. tflite-runtime 2.7 to 2.9 load those, scale all channels like
    the first, and answer vectors of cosine .46; from 2.10 on they are right. Version 10 is the next
    that a runtime can be asked for: 2.11.
    """
    model = tflite_graph.read(data)
    for code in model.operatorCodes:
        if tflite_graph.name_of(code) == _PRODUCT:
            code.version = max(code.version, _PER_CHANNEL_VERSION)
    model.metadata = []  # the minimum runtime that the writer stored
    return tflite_graph.write(model)


def _full(model: Any) -> RecipeManager:
    """Instructions for int8 arithmetic in every operation that a product's result reaches."""
    recipe = RecipeManager()
    reached: set[int] = set()
    raw = _of_vector_features(model)
    for one in tflite_graph.operations(model):
        if one.name == _PRODUCT and one.inputs[0] in raw:
            continue
        if one.name == _PRODUCT or reached & set(one.inputs):
            reached |= set(one.outputs)
            if one.name in _INTEGER:
                recipe.add_static_config(_scope(model, one), TFLOperationName(one.name), 8, 8)
    return recipe


def _selective(model: Any) -> RecipeManager:
    """Instructions for int8 arithmetic in products with weights, where it costs little.

    Float stay attention's scores, mask and softmax, norms, the sums that run through the blocks;
    and with weights in int8 but float arithmetic, the last product, and those that read what a
    gate multiplied: such values are few and large, and one scale for all drowns the rest.
    """
    fixed = tflite_graph.constants(model)
    found = tflite_graph.operations(model)
    maker = {output: one for one in found for output in one.outputs}
    raw = _of_vector_features(model)
    recipe = RecipeManager()
    products = [one for one in found if one.name == _PRODUCT]
    for one in products:
        scope, name = _scope(model, one), TFLOperationName(one.name)
        if one is products[-1] or one.inputs[0] in raw or _reads_a_gate(one, maker, fixed):
            recipe.add_weight_only_config(scope, name, 8)
        else:
            recipe.add_static_config(scope, name, 8, 8)
    return recipe


def _of_vector_features(model: Any) -> set[int]:
    """Return the tensors that hold vector features as they come in.

    Their products are joined with raw columns, which one scale for all would drown.
    """
    graph = model.subgraphs[0]
    found = {int(i) for i in graph.inputs if VECTORS in graph.tensors[i].name.decode()}
    for one in tflite_graph.operations(model):
        if one.name in (*_MOVES, "SLICE", "STRIDED_SLICE") and one.inputs[0] in found:
            found |= set(one.outputs)
    return found


def _reads_a_gate(one: Operation, maker: dict[int, Operation], fixed: set[int]) -> bool:
    source = maker.get(one.inputs[0])
    while source is not None and source.name in _MOVES:
        source = maker.get(source.inputs[0])
    return source is not None and source.name == "MUL" and not fixed & set(source.inputs)


def _scope(model: Any, one: Operation) -> str:
    """Pattern of an operation for the quantizer, which joins its outputs' names with semicolons."""
    return f"^{model.subgraphs[0].tensors[one.outputs[0]].name.decode()};"
