"""Train both towers together: next-item prediction at every position, softmax over all items."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.disk.files import write_atomic
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import VALID, Dataset
from pocketrec_training.data.features.declared import fit_features
from pocketrec_training.errors import TrainingDivergedError
from pocketrec_training.metrics.cases import evaluation_settings, some
from pocketrec_training.monitoring.counted_time import Clock, CountedTime, StoppedBy
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.towers.data_parallel import mirrored
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.sequences import batches
from pocketrec_training.towers.step import TowerFit
from pocketrec_training.towers.user_vectors import validation_ndcg


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTowers:
    """The best towers by validation NDCG@10, and how training went.

    Attributes:
        curve: loss and ndcg10 of each epoch; ndcg10 is 0 without validation cases.
        seconds: wall-clock time after the set-up, earlier tries included.
        declared: declared features, fitted to the items.
        stopped_by: "minutes" also if the cap shortened the schedule and patience ended it first.
    """

    user_tower: keras.Model
    item_tower: keras.Model
    curve: list[dict[str, float]]
    seconds: float
    stopped_by: StoppedBy
    declared: FittedFeatures


def fit_towers(
    recipe: Recipe,
    spec: FeatureSpec,
    data: Dataset,
    checkpoint: Path,
    minutes: float,
    *,
    begin: Callable[[keras.Model, keras.Model], None] | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    clock: Clock = time.monotonic,
) -> FittedTowers:
    """Train with early stopping on validation NDCG@10; resume from `checkpoint` if it exists.

    The checkpoint is replaced after each epoch by one rename, so a kill loses at most one epoch. If
    `minutes` is too short for all epochs, the schedule is shortened. One epoch is always completed.
    Without validation cases all epochs run, and the last one is kept.

    Args:
        recipe: what to train; `spec` and `data` belong to it.
        spec: features and vocabularies.
        data: sequences with their folds.
        checkpoint: file of unfinished work.
        minutes: cap of the stage, earlier tries included, set-up and compilation not
            (`pocketrec_training.monitoring.counted_time`); 0 = none.
        begin: called with the new user tower and item tower before training (a warm start).
        on_epoch: called with the epoch's number and its point of the curve after each epoch, when
            the checkpoint is written; an exception of it ends the training.
        clock: what the cap is measured with.

    Raises:
        TrainingDivergedError: an epoch ends with weights or an NDCG that are not finite.
        TableInvalidError: the items lack a declared feature.
    """
    config = recipe.retrieval
    declared = fit_features(recipe, data.items)
    inputs = item_inputs(spec, data.items, config.title_buckets, declared)
    fit = TowerFit(recipe, spec, data, inputs, begin, mirrored(config.replicas), declared)
    state = _Progressed(curve=[], best=fit.snapshot(), best_ndcg=-1.0)
    if checkpoint.exists():
        state = _restore(checkpoint, fit)
    started = clock() - state.seconds
    counted = CountedTime(minutes, state.counted, clock)
    stopped_by: StoppedBy = "epochs"
    cases = next(iter(evaluation_settings(data, VALID)), None)
    if cases and config.validate_users:
        cases = some(cases, config.validate_users, recipe.seed)
    with Progress("two-tower", config.epochs) as bar:
        for epoch in range(len(state.curve), config.epochs):
            planned = counted.planned(config.epochs, epoch)
            state.cut = state.cut or planned < config.epochs
            best_epoch = int(np.argmax([p["ndcg10"] for p in state.curve])) if state.curve else 0
            if epoch >= planned:
                break
            if cases and epoch - best_epoch > config.patience:
                stopped_by = "patience"
                break
            rng = np.random.default_rng([recipe.seed, epoch])
            with counted.counting():
                fit.begin_epoch()
                parts = list(
                    batches(
                        data,
                        spec.max_history,
                        config.batch,
                        rng,
                        baskets=fit.baskets,
                        shuffles=fit.shuffles,
                    )
                )
            pace = (1.0 - state.done) / ((planned - epoch) * len(parts))
            losses = []
            for part in parts:
                state.done = min(1.0, state.done + pace)
                with counted.counting(part.shape):
                    losses.append(fit.step(part, state.done, rng))
            now, averaged, ndcg = [v.numpy() for v in fit.kept], fit.snapshot(), 0.0
            if cases:
                with counted.counting():
                    fit.restore(averaged)
                    ndcg = validation_ndcg(fit.user_tower, fit.item_table(), spec, data, cases)
                    fit.restore(now)
            _check_finite(epoch, ndcg, averaged)
            state.curve.append({"loss": float(np.mean(losses)), "ndcg10": ndcg})
            state.seconds, state.counted = clock() - started, counted.seconds
            if ndcg > state.best_ndcg or not cases:
                state.best_ndcg, state.best = ndcg, averaged
            _save(checkpoint, fit, state)
            if on_epoch is not None:
                on_epoch(epoch, state.curve[-1])
            validated = f"NDCG@10 {ndcg:.4f}" if cases else "all events"
            bar.advance(epoch + 1, f"loss {state.curve[-1]['loss']:.3f}  {validated}")
    fit.restore(state.best)
    return FittedTowers(
        user_tower=fit.user_tower,
        item_tower=fit.item_tower,
        curve=state.curve,
        seconds=state.seconds,
        stopped_by="minutes" if state.cut else stopped_by,
        declared=declared,
    )


def _check_finite(epoch: int, ndcg: float, weights: list[Any]) -> None:
    """Refuse what would be saved as the best epoch, or compare with nothing.

    The weights too: scores that are NaN are below no other, so they look like the best place.
    """
    if np.isfinite(ndcg) and all(np.isfinite(value).all() for value in weights):
        return
    raise TrainingDivergedError(
        f"two-tower: epoch {epoch + 1} ended with weights that are not finite or a validation "
        f"NDCG@10 of {ndcg}; nothing was saved. Lower retrieval.learning_rate, or set "
        'retrieval.precision = "float32".'
    )


@dataclass(slots=True)
class _Progressed:
    """What a checkpoint holds beside the weights.

    Attributes:
        seconds: wall-clock time; counted: its part that counts against the cap.
        done: share of the schedule gone by, 0..1.
        cut: the cap has shortened the schedule.
    """

    curve: list[dict[str, float]]
    best: list[Any]
    best_ndcg: float
    seconds: float = 0.0
    counted: float = 0.0
    done: float = 0.0
    cut: bool = False


def _save(path: Path, fit: TowerFit, state: _Progressed) -> None:
    """One .npz with all variables, the best ones and the curve; written whole or not at all."""
    arrays = {f"now{i}": v.numpy() for i, v in enumerate(fit.everything)}
    arrays |= {f"best{i}": v for i, v in enumerate(state.best)}
    curve = np.array([[p["loss"], p["ndcg10"]] for p in state.curve])
    buffer = io.BytesIO()
    np.savez(
        buffer,
        curve=curve,
        numbers=np.array(
            [state.best_ndcg, state.seconds, state.counted, state.done, float(state.cut)]
        ),
        allow_pickle=False,
        **arrays,
    )
    write_atomic(path, buffer.getvalue())


def _restore(path: Path, fit: TowerFit) -> _Progressed:
    with np.load(path, allow_pickle=False) as saved:
        for i, variable in enumerate(fit.everything):
            variable.assign(saved[f"now{i}"])
        curve = [{"loss": float(a), "ndcg10": float(b)} for a, b in saved["curve"]]
        best_ndcg, seconds, counted, done, cut = map(float, saved["numbers"])
        best = [saved[f"best{i}"] for i in range(len(fit.kept))]
    return _Progressed(
        curve=curve,
        best=best,
        best_ndcg=best_ndcg,
        seconds=seconds,
        counted=counted,
        done=done,
        cut=bool(cut),
    )


def prepare_process(seed: int) -> None:
    """Set all seeds and silence TensorFlow; call before models are built."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras.utils.set_random_seed(seed)
