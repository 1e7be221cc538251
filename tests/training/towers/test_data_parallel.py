"""Two devices that share a batch train what one device trains."""

import json
import os
import subprocess
import sys

import pytest

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.towers.data_parallel import mirrored

SETTINGS = {
    "softmax": {"loss": "softmax"},
    "sampled": {"loss": "sampled", "negatives": 16},
    "float16": {"precision": "mixed_float16"},
    "dropout": {"dropout": 0.5, "id_dropout": 0.2},
}


@pytest.fixture(scope="module")
def apart(repository):
    """How far two devices are from one, by the name of the settings; one process for all."""
    child = repository / "tests" / "training" / "towers" / "data_parallel_child.py"
    done = subprocess.run(
        [sys.executable, str(child), json.dumps(list(SETTINGS.values()))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(SETTINGS, found, strict=True))


@pytest.mark.parametrize("loss", ["softmax", "sampled"])
def test_two_logical_devices_give_the_result_of_one(apart, loss):
    """Batches of 7 windows: the second device gets an empty one besides its three."""
    found = apart[loss]
    assert found["first"] == 0.0
    assert found["losses"] < 1e-4
    assert found["moved"] > 1e-3
    # Adam divides by small second moments: rounding of a gradient grows in the first steps.
    assert found["weights"] < 0.02 * found["moved"]
    assert found["averages"] < 0.02 * found["moved"]


def test_two_devices_agree_in_float16_with_its_loss_scaling(apart):
    """Each rounds its part of a gradient, so weights of small gradients part; the loss does not."""
    found = apart["float16"]
    assert found["first"] == 0.0
    assert found["losses"] < 1e-4
    assert found["moved"] > 1e-3


def test_dropout_is_drawn_on_each_device(apart):
    """Other rows are dropped than on one device, so the result is another, of the same size."""
    found = apart["dropout"]
    assert 0.0 < found["losses"] < 1.0
    assert 0.0 < found["weights"] < 10 * found["moved"]


def test_more_devices_than_there_are_is_refused():
    assert mirrored(1) is None
    with pytest.raises(RecipeInvalidError, match=r"retrieval\.replicas: 64 devices"):
        mirrored(64)
