"""The final fit: it learns from all events and ships. Its figures would flatter, so it has none.

Towers continue from those of the evaluation fit for some epochs over all events, and are rotated
onto its item space, because the ranker learned in that space (docs/decisions/0025-final-fit.md).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.fits.final_ranker import fit_final_ranker
from pocketrec_training.fits.refit import continued_recipe, continued_towers
from pocketrec_training.fits.report import FinalReport, TrainReport
from pocketrec_training.fits.save import Fitted
from pocketrec_training.monitoring.experiment_log import ExperimentLog
from pocketrec_training.neighbours.fit import fit_neighbours
from pocketrec_training.ranker.cross_fit import load_cross_fit
from pocketrec_training.trained import load_trained

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

    first, everything = load_trained(run_dir), data.all_train()
    towers, aligned = continued_towers(
        first, data, everything, report, checkpoint, minutes, on_epoch
    )
    ranker = fit_final_ranker(first, data, load_cross_fit(run_dir), report)
    known = np.bincount(data.rows[data.fold == TRAIN], minlength=len(data.items))
    told = FinalReport(
        epochs=len(towers.curve),
        epochs_planned=continued_recipe(first.recipe, report).retrieval.epochs,
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
        spec=first.spec,
        report=told,
        item_vectors=aligned.table,
        neighbours=fit_neighbours(first.recipe.neighbours, everything, first.declared),
        declared=first.declared,
        objectives=first.objectives,
        models=(aligned.user_tower, aligned.item_tower, ranker.ranker),
    )
