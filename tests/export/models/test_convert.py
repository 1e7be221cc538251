from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_edge.engines.select import open_engine
from pocketrec_export.errors import ConversionFailedError
from pocketrec_export.models import convert as convert_module
from pocketrec_export.models.convert import (
    as_function,
    attempt,
    convert,
    ranker_signature,
    run_keras,
    tower_signature,
)
from pocketrec_training.trained import TrainedRun, load_trained

SIGNATURES = {"user_tower": tower_signature, "ranker": ranker_signature}
# float16 keeps 11 bits, int8 per channel 8; the outputs are of size 1.
LARGEST_ERROR = {"fp32": 1e-5, "fp16": 5e-3, "dynamic": 0.15, "int8": 0.5, "selective": 0.15}
FILES = [("litert", variant) for variant in LARGEST_ERROR]
FILES += [("onnx", variant) for variant in LARGEST_ERROR if variant != "selective"]
TEN_YEARS_S = 3e8


@pytest.fixture(scope="module")
def trained(run_dir: Path) -> TrainedRun:
    return load_trained(run_dir)


@pytest.fixture(scope="module")
def converted(trained: TrainedRun):
    return {
        name: convert(
            getattr(trained, name),
            make(trained.spec),
            tuple(LARGEST_ERROR),
            [random_inputs(trained, name, 100 + seed) for seed in range(16)],
        )
        for name, make in SIGNATURES.items()
    }


def random_inputs(trained: TrainedRun, name: str, seed: int) -> dict:
    """Inputs of the sizes that occur: ages of years in seconds, popularity in thousands."""
    rng = np.random.default_rng(seed)
    spec = trained.spec
    found = {}
    value: NDArray[Any]
    for key, (shape, dtype) in SIGNATURES[name](spec).inputs.items():
        if key == "history_ages_s":
            value = np.sort(rng.uniform(0, TEN_YEARS_S, shape))[:, ::-1]
        elif key == "history_length":
            value = np.full(shape, seed % (spec.max_history + 1))
        elif key == "item_numeric":
            value = rng.uniform((0, 1900, -1), (90_000, 2020, 70_000), shape)
        elif key == "context":
            value = np.array(
                [[23, 6, 40, 9_000, TEN_YEARS_S, TEN_YEARS_S, 0.4, 0.9, 50_000, 1990, -1]]
            )
        elif key == "pair":
            place = np.arange(shape[0])
            had = place % 2
            columns = [30 - place, place, 0.3**place, place, 9 * had, TEN_YEARS_S * had - 1 + had]
            cosines = np.sort(rng.uniform(-1, 1, (3, len(place))), axis=0)
            tastes = rng.uniform(0, 1, (2, len(place)))
            votes = rng.normal(0, 0.3, (2, len(place)))
            value = np.stack([*columns, *cosines, *tastes, *votes], axis=1)
        elif key in ("history_events", "item_categories"):
            value = rng.integers(0, 3, shape)
        else:
            value = rng.normal(size=shape)
        found[key] = np.ascontiguousarray(value, dtype.as_numpy_dtype)
    return found


@pytest.mark.parametrize(("engine", "variant"), FILES)
@pytest.mark.parametrize("name", SIGNATURES)
def test_every_variant_agrees_with_keras_in_its_own_runtime(
    name, engine, variant, trained, converted, tmp_path
):
    signature = SIGNATURES[name](trained.spec)
    made = next(c for c in converted[name] if (c.engine, c.variant) == (engine, variant))
    path = tmp_path / "model"
    path.write_bytes(made.data)
    runner = open_engine(path, engine)
    truth = as_function(getattr(trained, name), signature)
    for seed in range(8):
        inputs = random_inputs(trained, name, seed)
        found = runner.run(inputs)
        assert found.dtype == np.float32
        assert np.abs(found - run_keras(truth, inputs)).max() <= LARGEST_ERROR[variant]


def test_files_keep_the_names_of_the_format(converted, trained, tmp_path):
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    for name, files in converted.items():
        signature = SIGNATURES[name](trained.spec)
        for made in files:
            if made.engine == "onnx":
                graph = onnx.load_from_string(made.data).graph
                assert [i.name for i in graph.input] == list(signature.inputs)
                assert [o.name for o in graph.output] == [signature.output]
                continue
            interpreter = Interpreter(model_content=made.data)
            (listed,) = interpreter.get_signature_list().values()
            assert sorted(listed["inputs"]) == sorted(signature.inputs)
            assert listed["outputs"] == [signature.output]
            details = {d["name"]: tuple(d["shape"]) for d in interpreter.get_input_details()}
            assert details == {key: shape for key, (shape, _) in signature.inputs.items()}


def test_each_engine_gets_the_variants_it_has(converted):
    for files in converted.values():
        assert sorted((c.engine, c.variant) for c in files) == sorted(FILES)


def test_smaller_variants_are_smaller_and_only_dynamic_needs_a_new_runtime(converted):
    for files in converted.values():
        for engine in ("litert", "onnx"):
            by_variant = {c.variant: c for c in files if c.engine == engine}
            assert len(by_variant["fp16"].data) < len(by_variant["fp32"].data)
            assert len(by_variant["int8"].data) < len(by_variant["fp16"].data)
        runtime = {c.variant: c.min_runtime for c in files if c.engine == "litert"}
        as_numbers = {v: tuple(map(int, text.split("."))) for v, text in runtime.items()}
        # FULLY_CONNECTED version 12 came with TensorFlow 2.17; the last tflite-runtime is 2.14.
        assert as_numbers.pop("dynamic") >= (2, 17)
        # Up to 2.9 they load int8 weights per channel under a lower version and answer nonsense.
        assert min(as_numbers["int8"], as_numbers["selective"]) >= (2, 10)
        assert max(as_numbers.values()) <= (2, 14)


@pytest.mark.parametrize("variant", ["int8", "selective"])
def test_fixed_scales_need_calibration_inputs(variant, trained):
    with pytest.raises(ConversionFailedError, match=f"{variant} need.*training log"):
        convert(trained.ranker, ranker_signature(trained.spec), ("fp32", variant))


def test_a_variant_that_fails_is_told_beside_the_others(trained, monkeypatch):
    def refuse(*_):
        raise ConversionFailedError("no such kernel")

    monkeypatch.setattr(convert_module, "static", refuse)
    words = (trained.ranker, ranker_signature(trained.spec), ("fp32", "selective"))
    calibration = [random_inputs(trained, "ranker", 1)]
    made, failed = attempt(*words, calibration)
    assert [(c.engine, c.variant) for c in made] == [("litert", "fp32"), ("onnx", "fp32")]
    assert [(f.engine, f.variant, f.reason) for f in failed] == [
        ("litert", "selective", "no such kernel")
    ]
    with pytest.raises(ConversionFailedError, match="no such kernel"):
        convert(*words, calibration)
