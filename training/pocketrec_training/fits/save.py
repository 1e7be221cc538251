"""Write a fit into its folder."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import keras
import numpy as np

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.disk.files import canonical_json, replace_dir
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data import columns as col
from pocketrec_training.fits.report import FinalReport, TrainReport
from pocketrec_training.neighbours.fit import save_neighbours
from pocketrec_training.ranker.cross_fit import CrossFit, save_cross_fit
from pocketrec_training.recipe.load import recipe_json
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import MODELS, RunFolder
from pocketrec_training.warm_start.start import AlignedTowers

Report = TypeVar("Report", TrainReport, FinalReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted(Generic[Report]):
    """All that a fit made.

    Attributes:
        item_vectors: float32 [n_items, d].
        declared: declared features; without any, the run has no file of them.
        objectives: with their formula; without any, the run has no file of them.
        models: in the order of `MODELS`.
        cross_fit: rankers for validation figures; None in a final fit.
    """

    recipe: Recipe
    spec: FeatureSpec
    report: Report
    item_vectors: Floats32
    neighbours: Neighbours | None
    declared: FittedFeatures
    models: tuple[keras.Model, keras.Model, keras.Model]
    cross_fit: CrossFit | None = None
    objectives: Objectives | None = None


def save_fit(
    fitted: Fitted[TrainReport] | Fitted[FinalReport], out: Path, tables: Path | None = None
) -> None:
    """Write the folder `out` in one step.

    Args:
        fitted: what to write.
        out: not there yet.
        tables: folder of the tables to copy; None: the fit lies in a run that has them.

    Raises:
        OSError: it can't be written.
    """
    partial = _partial(out)
    partial.recipe.write_bytes(recipe_json(fitted.recipe))
    partial.feature_spec.write_bytes(canonical_json(fitted.spec.to_json()))
    if fitted.declared.items:
        partial.features.write_bytes(canonical_json(fitted.declared.to_json()))
    if fitted.objectives is not None:
        partial.objectives.write_bytes(canonical_json(fitted.objectives.to_json()))
    partial.report.write_text(json.dumps(asdict(fitted.report), indent=2))
    for name in (col.ITEMS_FILE, col.INTERACTIONS_FILE, col.REPORT_FILE):
        if tables is not None and (tables / name).is_file():
            shutil.copyfile(tables / name, partial.path / name)
    np.save(partial.item_vectors, fitted.item_vectors)
    if fitted.neighbours is not None:
        save_neighbours(partial.neighbours, fitted.neighbours)
    for name, model in zip(MODELS, fitted.models, strict=True):
        model.save(partial.model(name))
    if fitted.cross_fit is not None:
        save_cross_fit(partial.path, fitted.cross_fit)
    replace_dir(partial.path, out)


def _partial(out: Path) -> RunFolder:
    """Return an empty folder beside `out`, to take its place when it is complete."""
    partial = RunFolder(out.with_name(f".{out.name}.partial"))
    shutil.rmtree(partial.path, ignore_errors=True)
    partial.path.mkdir()
    return partial


def save_refit(towers: AlignedTowers, neighbours: Neighbours | None, out: Path) -> None:
    """Write what `TrainedRun.as_released` reads, in one step.

    Raises:
        OSError: it can't be written.
    """
    partial = _partial(out)
    np.save(partial.item_vectors, towers.table)
    if neighbours is not None:
        save_neighbours(partial.neighbours, neighbours)
    towers.user_tower.save(partial.model("user_tower"))
    towers.item_tower.save(partial.model("item_tower"))
    replace_dir(partial.path, out)
