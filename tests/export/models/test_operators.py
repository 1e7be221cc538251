"""Operators and minimum runtimes, compared with the converter's and with hand-made files."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_export.models import operators, tflite_graph
from pocketrec_export.models.convert import convert, ranker_signature, tower_signature
from pocketrec_training.trained import load_trained


def stated_runtime(data: bytes) -> str:
    """What TensorFlow's converter wrote into the file itself."""
    model = tflite_graph.read(data)
    (entry,) = model.metadata
    return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()


@pytest.fixture(scope="module")
def files(run_dir):
    trained = load_trained(run_dir)
    variants = ("fp32", "fp16", "dynamic")
    tower = convert(trained.user_tower, tower_signature(trained.spec), variants)
    return tower + convert(trained.ranker, ranker_signature(trained.spec), variants)


def test_the_table_says_what_the_converter_says(files):
    found = [made for made in files if made.engine == "litert"]
    assert len(found) == 6
    for made in found:
        assert made.min_runtime == stated_runtime(made.data)


def test_versions_are_those_in_the_file(files):
    made = next(m for m in files if (m.engine, m.variant) == ("litert", "dynamic"))
    assert made.operators == operators.tflite_operators(made.data)
    assert made.operators["FULLY_CONNECTED"] == 12
    assert made.operators["SOFTMAX"] == 1
    assert list(made.operators) == sorted(made.operators)


@pytest.mark.parametrize(
    ("found", "least"),
    [
        ({"ADD": 1}, "1.5.0"),
        ({"ADD": 1, "FULLY_CONNECTED": 12, "BATCH_MATMUL": 1}, "2.17.0"),
        ({"SELECT_V2": 2, "SIN": 1}, "2.12.0"),  # as numbers: 2.12 is above 2.2
        ({"ADD": 1, "VAR_HANDLE": 1}, ""),  # an operator that the table lacks
        ({"ADD": 99}, ""),
        ({"ADD": 0}, ""),
    ],
)
def test_the_newest_operator_decides(found, least):
    assert operators.least_tflite_runtime(found) == least


def onnx_file(nodes, opsets) -> bytes:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    imports = [helper.make_opsetid(*each) for each in opsets.items()]
    return helper.make_model(graph, opset_imports=imports).SerializeToString()


def test_onnx_operators_carry_the_opset_of_their_schema():
    nodes = [helper.make_node("Add", ["x", "x"], ["z"]), helper.make_node("Neg", ["z"], ["y"])]
    data = onnx_file(nodes, {"": 17})
    assert operators.onnx_operators(data) == {"Add": 14, "Neg": 13}
    assert operators.onnx_opset(data) == 17
    assert operators.least_onnx_runtime(17) == "1.12.0"
    assert operators.least_onnx_runtime(17, ["", "ai.onnx"]) == "1.12.0"


def test_operators_of_another_domain_have_no_known_runtime():
    nodes = [helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")]
    data = onnx_file(nodes, {"": 17, "com.microsoft": 1})
    assert operators.onnx_operators(data) == {"com.microsoft.QuickGelu": 1}
    assert operators.least_onnx_runtime(17, ["com.microsoft"]) == ""
    assert operators.least_onnx_runtime(99) == ""


def test_onnx_files_state_their_operators(files):
    made = next(m for m in files if (m.engine, m.variant) == ("onnx", "dynamic"))
    types = {node.op_type for node in onnx.load_from_string(made.data).graph.node}
    assert set(made.operators) == types >= {"MatMulInteger", "DynamicQuantizeLinear"}
    assert made.min_runtime == "1.12.0"
    assert np.max(list(made.operators.values())) <= 17
