"""Curves reach TensorBoard's files and MLflow, or the user hears what to install."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from pocketrec_training.errors import LogUnavailableError
from pocketrec_training.monitoring.experiment_log import experiment_logs
from pocketrec_training.recipe.load import parse_recipe

RECIPE = parse_recipe({"name": "t", "data": {"dataset": "d"}}, "t")


def events(folder):
    found = {}
    for path in folder.glob("events.out.tfevents.*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def test_tensorboard_files_hold_the_curve_and_the_recipe(tmp_path):
    with experiment_logs(RECIPE, tmp_path) as (log,):
        log.log(0, {"retrieval/ndcg10": 0.25, "retrieval/loss": 3.0})
        log.log(1, {"retrieval/ndcg10": 0.5})
        assert events(tmp_path)["retrieval/ndcg10", 1] == 0.5  # there before the training ends
    with experiment_logs(RECIPE, tmp_path) as (log,):
        log.log(2, {"retrieval/ndcg10": 0.75})
    found = events(tmp_path)
    curve = [float(found["retrieval/ndcg10", step]) for step in range(3)]
    assert curve == [0.25, 0.5, 0.75]
    assert found["retrieval/loss", 0] == 3.0
    assert b'"name": "t"' in found["recipe", 0].item()


def test_nothing_asked_for_logs_nothing():
    with experiment_logs(RECIPE) as logs:
        assert logs == []


def test_missing_mlflow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    with (
        pytest.raises(LogUnavailableError, match="pip install mlflow"),
        experiment_logs(RECIPE, None, "http://127.0.0.1:1"),
    ):
        pytest.fail("the log opened")


class UnreachableError(Exception):
    """Stands for MLflow's own exception."""


@pytest.fixture
def mlflow(monkeypatch):
    """A stand-in for the used part of MLflow's interface; the project does not depend on MLflow."""
    calls: list[tuple[Any, ...]] = []

    class Run:
        def __enter__(self):
            return self

        def __exit__(self, kind, *rest):
            calls.append(("end", kind))

    module: Any = ModuleType("mlflow")
    module.exceptions = SimpleNamespace(MlflowException=UnreachableError)
    module.set_tracking_uri = lambda uri: calls.append(("uri", uri))
    module.set_experiment = lambda name: calls.append(("experiment", name))
    module.start_run = lambda run_name: Run()
    module.log_params = lambda found: calls.append(("params", found))
    module.log_metrics = lambda found, step: calls.append(("metrics", found, step))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return SimpleNamespace(module=module, calls=calls)


def test_mlflow_gets_flat_parameters_and_steps(mlflow):
    with experiment_logs(RECIPE, None, "sqlite:///m.db") as (log,):
        log.log(4, {"retrieval/ndcg10": 0.5})
    kinds = [call[0] for call in mlflow.calls]
    assert kinds == ["uri", "experiment", "params", "metrics", "end"]
    params = mlflow.calls[2][1]
    assert params["name"] == "t"
    assert params["retrieval.dim"] == str(RECIPE.retrieval.dim)
    assert all(isinstance(value, str) for value in params.values())
    assert mlflow.calls[3][1:] == ({"retrieval/ndcg10": 0.5}, 4)
    assert mlflow.calls[4] == ("end", None)


def test_unreachable_server_is_one_message(mlflow):
    def refuse(name):
        raise UnreachableError("connection refused")

    mlflow.module.set_experiment = refuse
    with (
        pytest.raises(LogUnavailableError, match="http://x: connection refused"),
        experiment_logs(RECIPE, None, "http://x"),
    ):
        pytest.fail("the log opened")
