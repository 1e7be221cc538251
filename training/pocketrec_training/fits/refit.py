"""Continue the towers of the evaluation fit over later events.

The final fit adds all held-out events, and ships. The refit adds the validation events, and answers
test cases: that is how good the shipped models are, measured on events that they have not seen. It
keeps the ranker of the evaluation fit, so its towers are rotated onto that fit's item space.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from pocketrec_bundle.neighbours import Neighbours
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.fits.report import TrainReport
from pocketrec_training.neighbours.fit import fit_neighbours
from pocketrec_training.recipe.schema import Recipe, uses_time
from pocketrec_training.towers.fit import FittedTowers, fit_towers
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.trained import TrainedRun, load_trained
from pocketrec_training.warm_start.start import AlignedTowers, align_towers, copy_weights

EPOCHS_SHARE = 0.25
"""Epochs of the continued towers, as a share of those up to the evaluation fit's best one."""

MINUTES_SHARE = 0.1
"""Part of the towers' cap that the refit gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """The towers and neighbours of a refit; whole: no cap cut it short."""

    towers: AlignedTowers
    neighbours: Neighbours | None
    whole: bool


def fit_refit(
    data: Dataset, run_dir: Path, report: TrainReport, checkpoint: Path, *, minutes: float
) -> Refit:
    """Make the refit of an evaluation fit.

    Args:
        data: sequences with the folds of the evaluation fit.
        run_dir: folder of the evaluation fit.
        report: its report.
        checkpoint: file of the towers' unfinished work.
        minutes: cap of the towers, 0 = none.

    Raises:
        TrainingDivergedError: an epoch ended with figures that are not finite.
    """
    first, counted = load_trained(run_dir), data.with_validation()
    towers, aligned = continued_towers(first, data, counted, report, checkpoint, minutes)
    return Refit(
        towers=aligned,
        neighbours=fit_neighbours(first.recipe.neighbours, counted, first.declared),
        whole=towers.stopped_by != "minutes",
    )


def continued_towers(
    first: TrainedRun,
    data: Dataset,
    counted: Dataset,
    report: TrainReport,
    checkpoint: Path,
    minutes: float,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[FittedTowers, AlignedTowers]:
    """Train the evaluation fit's towers for some more epochs, and rotate them onto its item space.

    Args:
        first: the evaluation fit.
        data: sequences with its folds.
        counted: the same with more events in the training fold.
        report: of the evaluation fit.
        checkpoint: file of the unfinished work.
        minutes: cap, 0 = none.
        on_epoch: called after each epoch.

    Returns:
        The towers before and after the rotation.

    Raises:
        TrainingDivergedError: an epoch ended with figures that are not finite.
    """
    spec, recipe = first.spec, continued_recipe(first.recipe, report)
    if not uses_time(first.recipe):  # times stand for the folds, see `load_dataset`
        counted = replace(counted, ts=np.full_like(data.ts, data.ts.max()))
    keras.utils.set_random_seed(recipe.seed)
    towers = fit_towers(
        recipe,
        spec,
        counted,
        checkpoint,
        minutes,
        begin=copy_weights(first, spec, data.items, first.declared),
        on_epoch=on_epoch,
    )
    inputs = item_inputs(spec, data.items, recipe.retrieval.title_buckets, towers.declared)
    table = np.asarray(towers.item_tower(inputs, training=False), np.float32)
    return towers, align_towers(first, spec, towers, table, data)


def continued_recipe(recipe: Recipe, report: TrainReport) -> Recipe:
    """Return the recipe of the continued towers: the first fit decides the number of epochs."""
    best = 1 + int(np.argmax([point["ndcg10"] for point in report.curve]))
    epochs = max(1, math.ceil(EPOCHS_SHARE * best))
    return replace(recipe, retrieval=replace(recipe.retrieval, epochs=epochs))
