"""Files on tflite-runtime 2.14, the last there is: it refuses what says so, and is right else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_edge.engines.select import is_older
from pocketrec_export.models.convert import as_function, convert, run_keras, tower_signature
from pocketrec_training.trained import load_trained

VERSION = "2.14.0"
UNREACHABLE = ("Could not find a version", "NewConnectionError", "No matching distribution")
# int8 keeps 8 bits of vectors whose values are of size 1.
LARGEST_ERROR = {"fp32": 1e-5, "fp16": 5e-3, "dynamic": 0.15, "int8": 0.5, "selective": 0.15}
CHILD = """
import json, sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
folder, given = sys.argv[1], np.load(sys.argv[2])
found = {}
for variant in sys.argv[3:]:
    try:
        one = Interpreter(model_path=f"{folder}/{variant}.tflite", num_threads=1)
        one.allocate_tensors()
    except ValueError as err:
        found[variant] = str(err)
        continue
    for detail in one.get_input_details():
        one.set_tensor(detail["index"], given[detail["name"]])
    one.invoke()
    found[variant] = one.get_tensor(one.get_output_details()[0]["index"]).tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def old_python(tmp_path_factory) -> Path:
    """Python of an environment with the old runtime."""
    venv = tmp_path_factory.mktemp("old")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    words = ["--python", str(venv / "bin/python"), "install", "--quiet", "--no-compile"]
    words += ["--disable-pip-version-check", f"tflite-runtime=={VERSION}", "numpy<2"]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"pip cannot reach tflite-runtime: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return venv / "bin" / "python"


def test_it_refuses_what_says_so_and_is_right_else(old_python, run_dir, tmp_path):
    trained = load_trained(run_dir)
    signature = tower_signature(trained.spec)
    rng = np.random.default_rng(0)

    def history(n: int) -> dict:
        values = {
            key: rng.normal(size=shape).astype(kind.as_numpy_dtype)
            for key, (shape, kind) in signature.inputs.items()
        }
        return {**values, "history_length": np.array([n], np.int32)}

    length = trained.spec.max_history
    calibration = [history(n % (length + 1)) for n in range(32)]
    files = convert(trained.user_tower, signature, tuple(LARGEST_ERROR), calibration)
    least = {}
    for made in (m for m in files if m.engine == "litert"):
        (tmp_path / f"{made.variant}.tflite").write_bytes(made.data)
        least[made.variant] = made.min_runtime
    given = history(length - 1)
    np.savez(tmp_path / "given.npz", **given)
    words = [old_python, "-c", CHILD, tmp_path, tmp_path / "given.npz", *least]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    truth = run_keras(as_function(trained.user_tower, signature), given)
    answers = json.loads(done.stdout)
    refused = {variant for variant, found in answers.items() if isinstance(found, str)}
    assert refused == {v for v, needed in least.items() if is_older(VERSION, needed)} == {"dynamic"}
    for variant in answers.keys() - refused:
        error = np.abs(np.array(answers[variant]) - truth).max()
        assert error <= LARGEST_ERROR[variant], variant
