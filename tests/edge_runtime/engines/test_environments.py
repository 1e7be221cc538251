"""The phone path where only an edge extra is installed: no TensorFlow, one runtime."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parent / "environment_child.py"
RUNTIMES = {"edge": "ai_edge_litert", "onnx": "onnxruntime", "tflite": "tflite_runtime"}
# From another folder and without PYTHONPATH: only what the wheel brought can be imported.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@pytest.fixture(scope="module")
def answer(environment, tmp_path_factory) -> Callable[[str, Path], dict[str, Any]]:
    """Return a function that lets a phone with one extra answer from a release, once each."""
    found: dict[tuple[str, Path], dict[str, Any]] = {}

    def ask(extra: str, release: Path) -> dict[str, Any]:
        if (extra, release) not in found:
            home = tmp_path_factory.mktemp("phone")
            done = subprocess.run(
                [environment(extra) / "python", CHILD, release, home],
                capture_output=True,
                text=True,
                cwd=home,
                env=ENVIRONMENT,
            )
            assert done.returncode == 0, done.stderr
            found[extra, release] = json.loads(done.stdout)
        return found[extra, release]

    return ask


@pytest.mark.parametrize("extra", RUNTIMES)
def test_recommends_with_only_one_edge_extra(answer, small_release, extra):
    found = answer(extra, small_release)
    assert found["installed"] == [RUNTIMES[extra]]
    assert found["loaded"] == [RUNTIMES[extra]]
    assert found["source"] == "model"
    assert found["faults"] == []
    before, after = found["before"], found["after"]
    assert len(before) == len(after) == 10
    assert before[0] not in after


def test_the_command_recommends_offline_with_the_edge_extra_alone(
    environment, small_release, tmp_path
):
    words = ["device", "recommend", "--home", tmp_path / "phone", "--bundle", small_release]
    done = subprocess.run(
        [environment("edge") / "pocketrec", *words, "--offline", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["source"], found["engine"], found["faults"]) == ("model", "litert", [])
    assert len(found["items"]) == 10


def test_the_runtimes_agree(answer, small_release):
    edge, onnx, tflite = (answer(extra, small_release) for extra in RUNTIMES)
    assert edge["before"] == onnx["before"] == tflite["before"]
    assert edge["after"] == onnx["after"] == tflite["after"]


def test_an_old_runtime_takes_the_variant_it_can_run(answer, quantized_release):
    """tflite-runtime 2.14 cannot load the dynamic-range default, which states 2.17 or newer."""
    new, old = (answer(extra, quantized_release) for extra in ("edge", "tflite"))
    models = ("user_tower", "ranker")
    assert new["opened"] == new["tried"] == [f"models/{m}.litert.dynamic" for m in models]
    assert old["opened"] == old["tried"] == [f"models/{m}.litert.fp16" for m in models]
    assert (old["source"], old["faults"]) == ("model", [])
    assert len(set(old["before"]) & set(new["before"])) >= 8  # they round differently
