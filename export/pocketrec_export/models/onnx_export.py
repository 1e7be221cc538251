"""Convert a frozen model to simplified float32 ONNX; `onnx_variants.py` makes smaller variants."""

import logging
from typing import Any

import numpy as np
import onnx
import onnxslim

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models.freeze import ModelSignature
from pocketrec_export.models.onnx_tidy import tidy

OPSET = 17


def to_onnx(frozen: Any, signature: ModelSignature) -> onnx.ModelProto:
    """Convert a frozen model to ONNX, float32, with its inputs in the signature's order.

    Raises:
        ConversionFailedError: an operation has no ONNX form.
    """
    from tf2onnx import convert as tf2onnx_convert  # its import configures logging: keep it late

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    by_name = {tensor.name.partition(":")[0]: tensor.name for tensor in frozen.inputs}
    try:
        model, _ = tf2onnx_convert._convert_common(
            frozen.graph.as_graph_def(add_shapes=True),
            name=signature.output,
            opset=OPSET,
            input_names=[by_name[name] for name in signature.inputs],
            output_names=[frozen.outputs[0].name],
            custom_op_handlers={"Log1p": (_log1p, [])},
        )
        model = onnxslim.slim(model)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as err:
        raise ConversionFailedError(f"{signature.output}: no ONNX file ({err})") from err
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains:
        raise ConversionFailedError(
            f"{signature.output}: the ONNX file needs operations of {domains}"
        )
    tidied = tidy(signature, model)
    onnx.checker.check_model(tidied, full_check=True)
    return tidied


def _log1p(ctx: Any, node: Any, _name: str, _args: Any) -> Any:
    """Write log1p(x) as log(x + 1): ONNX has no log1p, and tf2onnx knows no replacement."""
    one = ctx.make_const(f"{node.name}_one", np.array(1.0, np.float32)).output[0]
    node.input[0] = ctx.make_node("Add", [node.input[0], one]).output[0]
    node.type = "Log"
    return node
