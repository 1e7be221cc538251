"""TFLite files with clean names and a signature, equal for equal models, and no state inside."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models import tflite_graph
from pocketrec_export.models.freeze import ModelSignature

_RUNTIME_KEY = b"min_runtime_version"
_STATEFUL = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CUSTOM")


def tidy(signature: ModelSignature, variant: str, data: bytes) -> bytes:
    """Check the operations, add a signature, and replace names made of process-wide counters.

    Raises:
        ConversionFailedError: it needs more than built-in operations, or its inputs are not the
            signature's.
    """
    model = tflite_graph.read(data)
    if wrong := sorted(tflite_graph.versions(model).keys() & set(_STATEFUL)):
        raise ConversionFailedError(
            f"{signature.output}: the TFLite {variant} file holds {', '.join(wrong)}, which the "
            "built-in runtimes lack. Keep to layers without state."
        )
    if len(model.subgraphs) != 1:
        raise ConversionFailedError(
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
    model.metadata = [m for m in model.metadata or [] if m.name == _RUNTIME_KEY]
    return tflite_graph.write(model)


def _input_places(signature: ModelSignature, graph: Any) -> dict[str, int]:
    """Map each input's name to its tensor; an input that the graph ignores is an error."""
    found = {graph.tensors[i].name.decode().partition(":")[0]: i for i in graph.inputs}
    if found.keys() != set(signature.inputs) or len(graph.outputs) != 1:
        raise ConversionFailedError(
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
