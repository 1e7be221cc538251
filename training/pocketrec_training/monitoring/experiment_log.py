"""Where a training's curves go while it runs: TensorBoard files, an MLflow server, or nowhere."""

import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
from tensorflow.core.framework import summary_pb2

from pocketrec_training.errors import LogUnavailableError
from pocketrec_training.recipe.load import recipe_json
from pocketrec_training.recipe.schema import Recipe

EXPERIMENT = "pocketrec"


class ExperimentLog(Protocol):
    """A sink of named numbers a step."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Note values such as {"retrieval/ndcg10": 0.17} at a step, an epoch here."""


@contextmanager
def experiment_logs(
    recipe: Recipe, log_dir: Path | None = None, mlflow_uri: str | None = None
) -> Iterator[list[ExperimentLog]]:
    """Open the logs that were asked for, note the recipe in each, close them at the end.

    Args:
        recipe: what is trained.
        log_dir: folder for TensorBoard's event files; a resumed training adds a file to it.
        mlflow_uri: MLflow's tracking URI: a server, or `sqlite:///mlflow.db`.

    Raises:
        LogUnavailableError: MLflow is asked for and not installed, or its server does not answer.
    """
    with ExitStack() as stack:
        logs: list[ExperimentLog] = []
        if log_dir is not None:
            logs.append(stack.enter_context(_tensorboard(recipe, log_dir)))
        if mlflow_uri is not None:
            logs.append(stack.enter_context(_mlflow(recipe, mlflow_uri)))
        yield logs


@contextmanager
def _tensorboard(recipe: Recipe, folder: Path) -> Iterator[ExperimentLog]:
    writer = tf.summary.create_file_writer(str(folder))

    class TensorBoardLog:
        def log(self, step: int, values: dict[str, float]) -> None:
            with writer.as_default(step=step):
                for name, value in values.items():
                    number = tf.constant(value, tf.float32)
                    tf.summary.write(name, number, metadata=_metadata("scalars"))
            writer.flush()  # a killed training keeps what was logged

    with writer.as_default(step=0):
        text = "    " + recipe_json(recipe).decode().replace(
            "\n", "\n    "
        )  # a Markdown code block
        tf.summary.write("recipe", tf.constant(text), metadata=_metadata("text"))
    try:
        yield TensorBoardLog()
    finally:
        writer.close()


def _metadata(plugin: str) -> Any:
    """Say which tab shows a value; `tf.summary.scalar` would need TensorBoard to be installed."""
    kinds = {"scalars": summary_pb2.DATA_CLASS_SCALAR, "text": summary_pb2.DATA_CLASS_TENSOR}
    shown = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    return summary_pb2.SummaryMetadata(plugin_data=shown, data_class=kinds[plugin])


@contextmanager
def _mlflow(recipe: Recipe, uri: str) -> Iterator[ExperimentLog]:
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ModuleNotFoundError as err:
        raise LogUnavailableError(
            "--mlflow needs MLflow, which is not installed and not part of PocketRec. Install it "
            "with: pip install mlflow, or log for TensorBoard with --log-dir."
        ) from err

    class MlflowLog:
        def log(self, step: int, values: dict[str, float]) -> None:
            mlflow.log_metrics(values, step=step)

    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(EXPERIMENT)
        run = mlflow.start_run(run_name=recipe.name)
    except mlflow.exceptions.MlflowException as err:
        raise LogUnavailableError(f"--mlflow {uri}: {err}") from err
    with run:  # ends as failed where training raises
        mlflow.log_params(_flat(recipe))
        yield MlflowLog()


def _flat(recipe: Recipe) -> dict[str, str]:
    """The recipe as MLflow's flat parameters: "retrieval.dim" -> "64"."""
    found: dict[str, str] = {}
    for section, value in asdict(recipe).items():
        if not isinstance(value, dict):
            found[section] = str(value)
            continue
        for key, one in value.items():
            found[f"{section}.{key}"] = one if isinstance(one, str) else json.dumps(one)
    return found
