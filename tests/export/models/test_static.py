"""What is computed in int8, and what stays float, in the variants with scales fixed at export."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

import keras
import onnx
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from pocketrec_edge.engines.select import open_engine
from pocketrec_export.models import tflite_graph
from pocketrec_export.models.convert import ModelSignature, convert, tower_signature
from pocketrec_training.trained import load_trained


@pytest.fixture(scope="module")
def files(run_dir):
    """The user tower by engine and variant: one block, whose `down` reads a gated product."""
    trained = load_trained(run_dir)
    signature = tower_signature(trained.spec)
    rng = np.random.default_rng(0)
    calibration = [
        {
            key: rng.integers(0, 3, shape).astype(kind.as_numpy_dtype)
            for key, (shape, kind) in signature.inputs.items()
        }
        for _ in range(8)
    ]
    made = convert(trained.user_tower, signature, ("int8", "selective"), calibration)
    return {(one.engine, one.variant): one.data for one in made}


def int8_inputs(data: bytes) -> list[tuple[str, bool, bool]]:
    """Name of each operation, whether its first and its second input are int8, in order."""
    model = tflite_graph.read(data)
    kinds = [tensor.type for tensor in model.subgraphs[0].tensors]
    return [
        (one.name, *(kinds[place] == schema.TensorType.INT8 for place in (*one.inputs, -1)[:2]))
        for one in tflite_graph.operations(model)
    ]


def test_selective_computes_products_in_int8_and_nothing_else(files):
    found = int8_inputs(files["litert", "selective"])
    assert {name for name, first, _ in found if first} == {"FULLY_CONNECTED", "DEQUANTIZE"}
    products = [first for name, first, _ in found if name == "FULLY_CONNECTED"]
    # The query, keys and values, what attention mixed, `up`; then `down`, the last and gated.
    assert products == [True, True, True, True, False]


def test_int8_computes_all_behind_the_first_product(files):
    found = int8_inputs(files["litert", "int8"])
    names = [name for name, _, _ in found]
    start = names.index("FULLY_CONNECTED")
    integer = {name for name, first, _ in found if first}
    assert integer >= {"SOFTMAX", "BATCH_MATMUL", "ADD", "MUL", "MEAN", "RSQRT", "LOGISTIC"}
    assert not [name for name, first, _ in found[:start] if first and name != "FULLY_CONNECTED"]
    assert "LOG" in names[:start]  # of the ages, which int8 could not hold
    assert all(first and second for name, first, second in found if name == "FULLY_CONNECTED")


def test_weights_with_many_zeros_stay_dense(tmp_path):
    signature = ModelSignature(inputs={"x": ((4, 8), tf.float32)}, output="y")
    x = keras.Input((8,), name="x")
    first, last = keras.layers.Dense(32, activation="relu"), keras.layers.Dense(2)
    model = keras.Model(x, last(first(x)))
    first.kernel.assign(first.kernel * (np.arange(32) % 4 == 0))  # three units of four are dead
    inputs = [{"x": np.full((4, 8), n, np.float32)} for n in range(4)]
    for made in convert(model, signature, ("int8", "selective"), inputs):
        assert "DENSIFY" not in made.operators
        path = tmp_path / f"{made.engine}.{made.variant}"
        path.write_bytes(made.data)
        found = open_engine(path, made.engine).run(inputs[1])
        assert np.abs(found - np.asarray(model(inputs[1]["x"]))).max() < 0.1


def test_onnx_has_the_same_products_in_int8(files):
    graph = onnx.load_from_string(files["onnx", "int8"]).graph
    maker = {name: node for node in graph.node for name in node.output}
    held = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in (n for n in graph.node if n.op_type in ("MatMul", "Gemm")):
        weights = maker.get(node.input[1])
        if weights is None or weights.op_type != "DequantizeLinear":
            continue  # attention's own products
        if weights.input[0] not in held:
            continue
        tensor = held[weights.input[0]]
        assert tensor.data_type == onnx.TensorProto.INT8
        assert len(onnx.numpy_helper.to_array(held[weights.input[1]])) == tensor.dims[-1]
        source = maker.get(node.input[0])
        found.append(source is not None and source.op_type == "DequantizeLinear")
    assert sorted(found) == [False, True, True, True, True, True]
