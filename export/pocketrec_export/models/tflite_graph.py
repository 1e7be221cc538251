"""Read and write the graph of a TFLite file, by LiteRT's own schema."""

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_NAMES: dict[int, str] = {
    value: key for key, value in vars(schema.BuiltinOperator).items() if key.isupper()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: its builtin name, and its tensors by number, -1 where one is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(data: bytes) -> Any:
    """Parse a file into the schema's objects."""
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(data))


def write(model: Any) -> bytes:
    """Serialize the schema's objects; equal objects give equal bytes."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def versions(model: Any) -> dict[str, int]:
    """Return the highest version of each builtin that the file states, sorted by name."""
    found: dict[str, int] = {}
    for code in model.operatorCodes:
        name = name_of(code)
        found[name] = max(found.get(name, 0), int(code.version))
    return dict(sorted(found.items()))


def operations(model: Any) -> list[Operation]:
    """Return the operations of the first sub-graph, in the order in which they run."""
    return [
        Operation(
            name=name_of(model.operatorCodes[one.opcodeIndex]),
            inputs=tuple(int(i) for i in one.inputs),
            outputs=tuple(int(i) for i in one.outputs),
        )
        for one in model.subgraphs[0].operators
    ]


def constants(model: Any) -> set[int]:
    """Return the tensors of the first sub-graph whose values stand in the file."""
    return {
        number
        for number, tensor in enumerate(model.subgraphs[0].tensors)
        if model.buffers[tensor.buffer].data is not None
    }


def name_of(code: Any) -> str:
    """Return the builtin that an operator code stands for."""
    # Old readers know only the byte-wide code; newer files state both, the true one is larger.
    return _NAMES[int(max(code.builtinCode, code.deprecatedBuiltinCode))]
