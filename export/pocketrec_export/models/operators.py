"""Read the operators of a model file, their versions, and the minimum runtime.

The file's bytes are read, because a converter's own statement can differ from them. ONNX Runtime's
versions are those of its table "ONNX Runtime compatibility".
"""

from collections.abc import Iterable

import onnx

from pocketrec_export.models import tflite_graph
from pocketrec_export.models.tflite_versions import FIRST_RUNTIME

_DEFAULT_DOMAINS = ("", "ai.onnx")
_FIRST_ONNX_RUNTIME = {13: "1.6.0", 14: "1.8.0", 15: "1.9.0", 16: "1.11.0", 17: "1.12.0"}


def tflite_operators(data: bytes) -> dict[str, int]:
    """Return each builtin's name and the highest version of it that a TFLite file states."""
    return tflite_graph.versions(tflite_graph.read(data))


def least_tflite_runtime(operators: dict[str, int]) -> str:
    """Return the first TensorFlow (and tflite-runtime) with all of them, as "2.3.0".

    "" is unknown: an operator or a version of it that the table lacks. Treat it as newer than any.
    """
    found = []
    for name, version in operators.items():
        first = FIRST_RUNTIME.get(name, ())
        if not 0 < version <= len(first):
            return ""
        found.append(first[version - 1])
    return max(found, key=_number, default="")


def onnx_operators(data: bytes) -> dict[str, int]:
    """Return each operator type of an ONNX file, and the opset that its schema is from.

    Types of other domains than ONNX's own are written "domain.Type".
    """
    model = onnx.load_from_string(data)
    opsets = {entry.domain: int(entry.version) for entry in model.opset_import}
    own = _own_opset(model)
    found = {}
    for node in model.graph.node:
        if node.domain in _DEFAULT_DOMAINS:
            found[node.op_type] = int(onnx.defs.get_schema(node.op_type, own).since_version)
        else:
            found[f"{node.domain}.{node.op_type}"] = opsets.get(node.domain, 1)
    return dict(sorted(found.items()))


def onnx_opset(data: bytes) -> int:
    """Return the version of ONNX's own operators that a file imports."""
    return _own_opset(onnx.load_from_string(data))


def _own_opset(model: onnx.ModelProto) -> int:
    imports = model.opset_import
    return max((int(e.version) for e in imports if e.domain in _DEFAULT_DOMAINS), default=0)


def least_onnx_runtime(opset: int, domains: Iterable[str] = ()) -> str:
    """Return the first ONNX Runtime with an opset, as "1.12.0"; "" is unknown, as above.

    Operators of other domains have no versions that a runtime states.
    """
    if set(domains) - set(_DEFAULT_DOMAINS):
        return ""
    return _FIRST_ONNX_RUNTIME.get(opset, "")


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
