"""The evaluation fit: it holds back the validation and test events, so its figures are honest."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data.dataset import VALID, Dataset
from pocketrec_training.data.features.declared import fit_features
from pocketrec_training.data.features.released import item_features
from pocketrec_training.data.splits.check import tied_last_share
from pocketrec_training.fits.report import TrainReport
from pocketrec_training.fits.save import Fitted
from pocketrec_training.metrics.cases import evaluation_settings
from pocketrec_training.monitoring.experiment_log import ExperimentLog
from pocketrec_training.neighbours.fit import fit_neighbours
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.fit import fit_ranker
from pocketrec_training.ranker.objectives import ObjectiveFacts
from pocketrec_training.ranker.outcomes import outcomes_of
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.towers.fit import fit_towers
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.user_vectors import validation_ndcg
from pocketrec_training.trained import TrainedRun
from pocketrec_training.warm_start.start import align_towers, copy_weights


def fit_evaluation(
    recipe: Recipe,
    spec: FeatureSpec,
    data: Dataset,
    checkpoint: Path,
    *,
    objectives: Objectives | None = None,
    facts: tuple[ObjectiveFacts, ...] = (),
    caps: tuple[float, float],
    previous: TrainedRun | None,
    logs: Sequence[ExperimentLog],
) -> Fitted[TrainReport]:
    """Train both stages on the training fold.

    Args:
        recipe: what to train; `spec` and `data` belong to it.
        spec: features and vocabularies.
        data: sequences with their folds.
        checkpoint: file of the towers' unfinished work.
        objectives: of the recipe, fitted to `data`; None without any.
        facts: about them, for the report.
        caps: minutes of towers and ranker, 0 = none.
        previous: run of a warm start, which fits the recipe.
        logs: receive the curves.

    Raises:
        FeatureLeakError: a ranker feature knows the future.
        TrainingDivergedError: an epoch ended with figures that are not finite.
    """

    def on_epoch(epoch: int, point: dict[str, float]) -> None:
        for log in logs:
            log.log(epoch, {f"retrieval/{name}": value for name, value in point.items()})

    towers = fit_towers(
        recipe,
        spec,
        data,
        checkpoint,
        caps[0],
        begin=copy_weights(previous, spec, data.items, fit_features(recipe, data.items))
        if previous
        else None,
        on_epoch=on_epoch,
    )
    inputs = item_inputs(spec, data.items, recipe.retrieval.title_buckets, towers.declared)
    table = np.asarray(towers.item_tower(inputs, training=False), np.float32)
    user_tower, item_tower, alignment = towers.user_tower, towers.item_tower, None
    if previous is not None:
        aligned = align_towers(previous, spec, towers, table, data)
        user_tower, item_tower = aligned.user_tower, aligned.item_tower
        table, alignment = aligned.table, aligned.alignment
    neighbours = fit_neighbours(recipe.neighbours, data, towers.declared)
    candidates = CandidateGenerator(
        spec,
        data,
        user_tower,
        table,
        neighbours=neighbours,
        declared=item_features(towers.declared, spec, data.items),
        repeats=recipe.rerank.repeats,
        baskets=recipe.split.kind != "leave_last",
        outcomes=outcomes_of(objectives, recipe, data.items),
    )
    keras.utils.set_random_seed(recipe.seed)  # the ranker starts alike, resumed or not
    fitted = fit_ranker(recipe, spec, candidates, caps[1])
    for epoch, loss in enumerate(fitted.first.losses):
        for log in logs:
            log.log(epoch, {"ranker/loss": loss})
    report = TrainReport(
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=len(towers.curve),
        epochs_planned=recipe.retrieval.epochs,
        retrieval_stopped_by=towers.stopped_by,
        valid_ndcg10=validation_ndcg(
            user_tower, table, spec, data, evaluation_settings(data, VALID)[0]
        ),
        curve=towers.curve,
        ranker_losses=fitted.first.losses,
        ranker_epochs=fitted.first.epochs,
        ranker_epochs_planned=recipe.ranker.epochs,
        ranker_stopped_by=fitted.first.stopped_by,
        ranker_gain=fitted.gain,
        ranker_gain_sentence=fitted.gain.sentence(),
        reproducible="minutes" not in (towers.stopped_by, fitted.first.stopped_by),
        tied_last_share=tied_last_share(data),
        retrieval_s=round(towers.seconds, 2),
        ranker_s=round(fitted.seconds, 2),
        user_tower_parameters=user_tower.count_params(),
        ranker_parameters=fitted.ranker.count_params(),
        last_ts=int(data.ts.max()),
        leak_check=fitted.leak_check,
        alignment=alignment,
        objectives=facts,
    )
    return Fitted(
        recipe=recipe,
        spec=spec,
        report=report,
        item_vectors=table,
        neighbours=neighbours,
        declared=towers.declared,
        objectives=objectives,
        models=(user_tower, item_tower, fitted.ranker),
        cross_fit=fitted.cross_fit,
    )
