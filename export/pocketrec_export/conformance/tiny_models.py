"""Two ONNX models for the tiny bundle, simple enough to compute by hand.

User tower: the sum of the history's vectors, divided by its length. Ranker: the first head is the
logistic function of the retrieval score plus `VOTES` times the neighbours' votes, the second half
of the first.
"""

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.item_features import input_widths
from pocketrec_bundle.features import FeatureSpec

VOTES = 10.0
"""The tiny bundle's votes are of the order of .1."""
DECLARED = 0.01
"""Weight of the sum of each input of declared features."""
_OPSET, _IR = 17, 8
Constants = dict[str, float | list[int] | list[float]]


def user_tower(spec: FeatureSpec) -> bytes:
    """Return the mean of the history's vectors as a model; zero for an empty history."""
    length = spec.max_history
    nodes = [
        helper.make_node("ReduceSum", ["history_vectors", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["history_length"], ["n"], to=TensorProto.FLOAT),
        helper.make_node("Max", ["n", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        # A model must read all inputs that FORMAT.md names; these two add zero.
        helper.make_node("Cast", ["history_events"], ["events"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["events", "history_ages_s"], ["unused"]),
        helper.make_node("ReduceMean", ["unused"], ["average"], keepdims=0),
        helper.make_node("Mul", ["average", "zero"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["user_vector"]),
    ]
    return _model(
        nodes,
        {
            "history_vectors": (TensorProto.FLOAT, (1, length, spec.dim)),
            "history_events": (TensorProto.INT32, (1, length)),
            "history_ages_s": (TensorProto.FLOAT, (1, length)),
            "history_length": (TensorProto.INT32, (1,)),
        },
        ("user_vector", (1, spec.dim)),
        {"axis": [1], "one": [1.0], "zero": 0.0},
    )


def ranker(spec: FeatureSpec, declared: FittedFeatures, votes_weight: float = VOTES) -> bytes:
    """Return a ranker of two heads.

    Args:
        spec: its columns.
        declared: features that add `DECLARED` times their sum.
        votes_weight: of the neighbours' votes.
    """
    n = spec.candidates
    score, votes = (spec.pair.index(name) for name in ("retrieval_score", "neighbour_sum"))
    inputs = {
        "user_vector": (TensorProto.FLOAT, (1, spec.dim)),
        "item_vectors": (TensorProto.FLOAT, (n, spec.dim)),
        "item_categories": (TensorProto.INT32, (n, spec.max_categories)),
        "item_numeric": (TensorProto.FLOAT, (n, len(spec.numeric))),
        "context": (TensorProto.FLOAT, (1, len(spec.context))),
        "pair": (TensorProto.FLOAT, (n, len(spec.pair))),
    }
    widths = input_widths(declared)
    for name, width in widths.items():
        kind = TensorProto.INT32 if name == "item_codes" else TensorProto.FLOAT
        inputs[name] = (kind, (n, width))
    unused = [name for name in inputs if name not in ("pair", *widths)]
    nodes = [
        helper.make_node("Gather", ["pair", "score"], ["scores"], axis=1),
        helper.make_node("Gather", ["pair", "votes"], ["plain"], axis=1),
        helper.make_node("Mul", ["plain", "weight"], ["weighed"]),
        helper.make_node("Add", ["scores", "weighed"], ["logits"]),
    ]
    total = "logits"
    for name in widths:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"{name}_float", "last"], [f"{name}_sum"], keepdims=1),
            helper.make_node("Mul", [f"{name}_sum", "little"], [f"{name}_little"]),
            helper.make_node("Add", [total, f"{name}_little"], [f"{name}_total"]),
        ]
        total = f"{name}_total"
    for name in unused:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"{name}_float"], [f"{name}_mean"], keepdims=0),
            helper.make_node("Mul", [f"{name}_mean", "zero"], [f"{name}_nothing"]),
            helper.make_node("Add", [total, f"{name}_nothing"], [f"{name}_total"]),
        ]
        total = f"{name}_total"
    nodes += [
        helper.make_node("Sigmoid", [total], ["first"]),
        helper.make_node("Mul", ["first", "half"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["probabilities"], axis=1),
    ]
    constants: Constants = {"score": [score], "votes": [votes], "weight": votes_weight}
    constants |= {"zero": 0.0, "half": 0.5}
    if widths:
        constants |= {"little": DECLARED, "last": [1]}
    return _model(nodes, inputs, ("probabilities", (n, 2)), constants)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, tuple[int, ...]]],
    output: tuple[str, tuple[int, ...]],
    constants: Constants,
) -> bytes:
    initializers = []
    for name, value in constants.items():
        values = value if isinstance(value, list) else [value]
        kind = TensorProto.INT64 if isinstance(values[0], int) else TensorProto.FLOAT
        shape = (len(values),) if isinstance(value, list) else ()
        initializers.append(helper.make_tensor(name, kind, shape, values))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        initializers,
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
