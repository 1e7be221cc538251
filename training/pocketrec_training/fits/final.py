"""The final fit: it learns from all events and ships. Its figures would flatter, so it has none.

Towers continue from those of the evaluation fit for some epochs over all events, and are rotated
onto its item space, because the ranker learned in that space (docs/decisions/0025-final-fit.md).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.fits.final_ranker import fit_final_ranker
from pocketrec_training.fits.report import FinalReport, TrainReport
from pocketrec_training.fits.save import Fitted
from pocketrec_training.monitoring.experiment_log import ExperimentLog
from pocketrec_training.neighbours.fit import fit_neighbours
from pocketrec_training.ranker.cross_fit import load_cross_fit
from pocketrec_training.recipe.schema import Recipe, uses_time
from pocketrec_training.towers.fit import fit_towers
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.trained import load_trained
from pocketrec_training.warm_start.start import align_towers, copy_weights

EPOCHS_SHARE = 0.25
"""Epochs of the final towers, as a share of those up to the evaluation fit's best one."""

MINUTES_SHARE = 0.2
"""Part of each cap that the final fit gets."""


def fit_final(
    data: Dataset,
    run_dir: Path,
    report: TrainReport,
    checkpoint: Path,
    *,
    minutes: float,
    logs: Sequence[ExperimentLog],
) -> Fitted[FinalReport]:
    """Train both stages on all events.

    Args:
        data: sequences with the folds of the evaluation fit.
        run_dir: folder of the evaluation fit.
        report: its report.
        checkpoint: file of the towers' unfinished work.
        minutes: cap of the towers, 0 = none.
        logs: receive the curves.

    Raises:
        TrainingDivergedError: an epoch ended with figures that are not finite.
    """

    def on_epoch(epoch: int, point: dict[str, float]) -> None:
        for log in logs:
            log.log(epoch, {"final/loss": point["loss"]})

    first = load_trained(run_dir)
    everything, spec = data.all_train(), first.spec
    if not uses_time(first.recipe):  # times stand for the folds, see `load_dataset`
        everything = replace(everything, ts=np.full_like(data.ts, data.ts.max()))
    recipe = final_recipe(first.recipe, report)
    keras.utils.set_random_seed(recipe.seed)
    towers = fit_towers(
        recipe,
        spec,
        everything,
        checkpoint,
        minutes,
        begin=copy_weights(first, spec, data.items),
        on_epoch=on_epoch,
    )
    inputs = item_inputs(spec, data.items, recipe.retrieval.title_buckets)
    table = np.asarray(towers.item_tower(inputs, training=False), np.float32)
    aligned = align_towers(first, spec, towers, table, data)
    ranker = fit_final_ranker(first, data, load_cross_fit(run_dir), report)
    known = np.bincount(data.rows[data.fold == TRAIN], minlength=len(data.items))
    told = FinalReport(
        epochs=len(towers.curve),
        epochs_planned=recipe.retrieval.epochs,
        retrieval_stopped_by=towers.stopped_by,
        losses=[point["loss"] for point in towers.curve],
        ranker_lists=ranker.lists,
        ranker_epochs=report.ranker_epochs,
        new_items=len(np.unique(data.rows[known[data.rows] == 0])),
        alignment=aligned.alignment,
        reproducible=report.reproducible and towers.stopped_by != "minutes",
        retrieval_s=round(towers.seconds, 2),
        ranker_s=round(ranker.seconds, 2),
        last_ts=int(data.ts.max()),
    )
    return Fitted(
        recipe=first.recipe,
        spec=spec,
        report=told,
        item_vectors=aligned.table,
        neighbours=fit_neighbours(recipe.neighbours, everything),
        models=(aligned.user_tower, aligned.item_tower, ranker.ranker),
    )


def final_recipe(recipe: Recipe, report: TrainReport) -> Recipe:
    """Return the recipe of the final towers: their number of epochs comes from the first fit."""
    best = 1 + int(np.argmax([point["ndcg10"] for point in report.curve]))
    epochs = max(1, math.ceil(EPOCHS_SHARE * best))
    return replace(recipe, retrieval=replace(recipe.retrieval, epochs=epochs))
