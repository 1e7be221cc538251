"""ORT-format files: equal bytes, the answers of the ONNX file, and what a build for them needs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

import onnxruntime as ort

from pocketrec_export.models.convert import convert, ranker_signature
from pocketrec_export.models.ort_format import least_ort_runtime, required_operators, to_ort
from pocketrec_training.trained import load_trained


def inputs(shapes: dict, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 3, shape).astype(kind.as_numpy_dtype)
        for name, (shape, kind) in shapes.items()
    }


@pytest.fixture(scope="module")
def ranker(run_dir: Path):
    """ONNX files of the ranker by variant, and its inputs' shapes."""
    trained = load_trained(run_dir)
    signature = ranker_signature(trained.spec)
    calibration = [inputs(signature.inputs, seed) for seed in range(4)]
    made = convert(trained.ranker, signature, ("fp32", "fp16", "dynamic", "int8"), calibration)
    return {m.variant: m.data for m in made if m.engine == "onnx"}, signature.inputs


def answer(data: bytes, given: dict):
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, given)[0]


@pytest.mark.parametrize("variant", ["fp32", "fp16", "dynamic", "int8"])
def test_answers_as_the_onnx_file(variant, ranker):
    files, shapes = ranker
    made = to_ort(files[variant])
    assert made[4:8] == b"ORTM"
    for seed in range(3):
        given = inputs(shapes, seed)
        # int8 products are fused in the ONNX file alone, which rounds elsewhere.
        limit = 0.02 if variant == "int8" else 1e-5
        assert np.abs(answer(made, given) - answer(files[variant], given)).max() <= limit


def test_small_constants_stay_small(ranker):
    files, _ = ranker
    assert len(to_ort(files["fp16"])) < len(to_ort(files["fp32"])) - 10_000


CODE = """
import hashlib, json, sys
from pathlib import Path
from pocketrec_export.models.ort_format import required_operators, to_ort
data = Path(sys.argv[1] if len(sys.argv) > 1 else {path!r}).read_bytes()
found = [hashlib.sha256(to_ort(data)).hexdigest() for _ in range(2)]
print(json.dumps([*found, required_operators([data])]))
"""


def test_another_process_writes_the_same_bytes(ranker, run_python, tmp_path):
    data = ranker[0]["int8"]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    other = json.loads(run_python(CODE.format(path=str(path))).stdout.splitlines()[-1])
    mine = hashlib.sha256(to_ort(data)).hexdigest()
    assert other == [mine, mine, required_operators([data])]


def test_a_reduced_build_gets_operators_and_types_and_no_paths(ranker):
    files, _ = ranker
    plain, both = required_operators([files["fp32"]]), required_operators(list(files.values()))
    assert "DequantizeLinear" in both
    assert "DequantizeLinear" not in plain
    assert 'MatMul{"inputs": {"0": ["float"]}}' in plain
    lines = both.splitlines()
    assert lines[0] == "# Operators and types of 4 models"
    assert all(line.startswith("ai.onnx;") for line in lines[1:])  # ONNX's own operators alone


def test_least_runtime_is_that_of_the_format(ranker):
    assert least_ort_runtime(to_ort(ranker[0]["fp32"])) == "1.16.0"
