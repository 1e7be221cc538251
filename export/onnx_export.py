"""ONNX files: three variants of a frozen model, slimmed, with clean names and equal bytes."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxslim
from onnx import TensorProto, helper, numpy_helper

from export.errors import ConversionFailed
from export.freeze import ModelFile, ModelSignature

OPSET = 17
_IR_VERSION = 8
_MIN_RUNTIME = "1.12.0"
"""The first ONNX Runtime with opset 17 (its table "ONNX Runtime compatibility")."""

_MIN_HALVED = 64
"""Constants below this many numbers stay float32: a cast would cost more than it saves."""


def to_onnx(frozen: Any, signature: ModelSignature) -> onnx.ModelProto:
    """Convert a frozen model to ONNX, float32, with its inputs in the signature's order.

    Raises:
        ConversionFailed: an operation has no ONNX form.
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
        raise ConversionFailed(f"{signature.output}: no ONNX file ({err})") from err
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains:
        raise ConversionFailed(f"{signature.output}: the ONNX file needs operations of {domains}")
    tidied = _tidy(signature, model)
    onnx.checker.check_model(tidied, full_check=True)
    return tidied


def _log1p(ctx: Any, node: Any, _name: str, _args: Any) -> Any:
    """Write log1p(x) as log(x + 1): ONNX has no log1p, and tf2onnx knows no replacement."""
    one = ctx.make_const(f"{node.name}_one", np.array(1.0, np.float32)).output[0]
    node.input[0] = ctx.make_node("Add", [node.input[0], one]).output[0]
    node.type = "Log"
    return node


def variant_of(model: onnx.ModelProto, signature: ModelSignature, variant: str) -> ModelFile:
    """Return a variant's file: "fp32", "fp16" (stored, not computed) or "dynamic" (int8 weights).

    Raises:
        ConversionFailed: the quantizer refused the model.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if variant == "fp16":
        _halve(made)
    elif variant == "dynamic":
        made = _tidy(signature, _quantize(signature, made))
    data = made.SerializeToString(deterministic=True)
    return ModelFile(data=data, min_runtime=_MIN_RUNTIME)


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

    with TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        logging.getLogger().setLevel(logging.ERROR)  # it advises a pre-processing already done
        try:
            # Weights as uint8: on x86 without VNNI the int8 x uint8 product saturates at 16 bits.
            quantize_dynamic(
                model,
                path,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QUInt8,
            )
        except (ValueError, RuntimeError, KeyError, AttributeError) as err:
            raise ConversionFailed(f"{signature.output}: no ONNX dynamic file ({err})") from err
        return onnx.load(path)


def _tidy(signature: ModelSignature, model: onnx.ModelProto) -> onnx.ModelProto:
    """Rename everything inside by position, and drop producer, texts and value infos."""
    graph = model.graph
    names = {name: name for name in ("", *signature.inputs)}
    given = {value.name.partition(":")[0]: value for value in graph.input}
    if given.keys() != set(signature.inputs) or len(graph.output) != 1:
        raise ConversionFailed(
            f"{signature.output}: the ONNX file has inputs {sorted(given)}, expected "
            f"{sorted(signature.inputs)} and one output"
        )
    for value in graph.input:
        names[value.name] = value.name.partition(":")[0]
    names[graph.output[0].name] = signature.output
    ordered = _in_order(graph)
    for node in ordered:
        for name in (*node.input, *node.output):
            names.setdefault(name, f"t{len(names)}")
    used = {name for node in ordered for name in node.input}
    tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.name in used}
    nodes = []
    for number, node in enumerate(ordered):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        attributes = sorted(copy.attribute, key=lambda a: a.name)
        del copy.attribute[:]
        copy.attribute.extend(attributes)
        copy.name, copy.doc_string = f"n{number}", ""
        copy.input[:] = [names[name] for name in node.input]
        copy.output[:] = [names[name] for name in node.output]
        nodes.append(copy)
    constants = []
    for old in sorted(tensors, key=lambda name: int(names[name][1:])):
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensors[old]), names[old])
        constants.append(tensor)
    return helper.make_model(
        helper.make_graph(
            nodes,
            signature.output,
            [_info(given[name], name) for name in signature.inputs],
            [_info(graph.output[0], signature.output)],
            constants,
        ),
        producer_name="PocketRec",
        opset_imports=sorted(model.opset_import, key=lambda o: o.domain),
        ir_version=_IR_VERSION,
    )


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that the output needs, each after its inputs, in an order of our own.

    The converter walks sets of names, so its order changes with Python's hash seed.
    """
    maker = {name: node for node in graph.node for name in node.output}
    done: set[int] = set()
    ordered: list[onnx.NodeProto] = []
    waiting = [(graph.output[0].name, False)]
    while waiting:
        name, inputs_done = waiting.pop()
        node = maker.get(name)
        if node is None or id(node) in done:
            continue
        if inputs_done:
            done.add(id(node))
            ordered.append(node)
            continue
        waiting.append((name, True))
        waiting.extend((source, False) for source in reversed(node.input))
    return ordered


def _info(value: Any, name: str) -> onnx.ValueInfoProto:
    info = onnx.ValueInfoProto()
    info.CopyFrom(value)
    info.name, info.doc_string = name, ""
    return info
