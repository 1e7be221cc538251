"""ONNX files with clean names, in one order, equal for equal models."""

from typing import Any

import onnx
from onnx import helper, numpy_helper

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models.freeze import ModelSignature

_IR_VERSION = 8


def tidy(signature: ModelSignature, model: onnx.ModelProto) -> onnx.ModelProto:
    """Rename everything inside by position, and drop producer, texts and value infos."""
    graph = model.graph
    names = {name: name for name in ("", *signature.inputs)}
    given = {value.name.partition(":")[0]: value for value in graph.input}
    if given.keys() != set(signature.inputs) or len(graph.output) != 1:
        raise ConversionFailedError(
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
