"""Load a finished run folder, for export and evaluation."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import pocketrec_training.ranker.model as ranker_model
from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.objectives import Objectives
from pocketrec_training.data.dataset import Dataset, Items, load_items
from pocketrec_training.data.features.released import item_features
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.neighbours.fit import load_neighbours
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.outcomes import outcomes_of
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import MODELS, TOWERS, Fit, RunFolder
from pocketrec_training.saved_model import load_model
from pocketrec_training.towers import item_tower, user_tower
from pocketrec_training.towers.feature_inputs import NO_FEATURES
from pocketrec_training.towers.item_content import item_inputs

# Imported so that keras knows their layers.
_LAYERS = (item_tower, ranker_model, user_tower)

_BLOCK = 8192
"""Items that the item tower takes at a time; each looks up some 30 vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """Models and tables of a run.

    Attributes:
        item_vectors: float32 [n_items, d] in canonical row order.
        declared: declared features of items.
        objectives: what the heads mean, and the formula; None without objectives and formula.
        fit: which of the run's fits this is.
        refit: folder of an evaluation fit's refit; None: it has none.
    """

    recipe: Recipe
    spec: FeatureSpec
    items: Items
    item_vectors: Floats32
    user_tower: keras.Model
    item_tower: keras.Model
    ranker: keras.Model
    neighbours: Neighbours | None
    declared: FittedFeatures = NO_FEATURES
    objectives: Objectives | None = None
    fit: Fit = "evaluation"
    refit: Path | None = None

    @property
    def typed(self) -> FittedFeatures:
        """Declared features that the ranker reads beside the columns of the spec."""
        return self.declared.for_ranker(self.spec.numeric)

    def as_released(self, log: Dataset) -> "tuple[TrainedRun, Dataset]":
        """Return this fit as it answers test cases or ships, and the log with what it counts.

        A run with a final fit also has a refit of its evaluation fit, with towers, neighbours and
        popularity of the training and validation events. It answers test cases, as baselines do
        that are fitted on both; the ranker is the evaluation fit's.

        Args:
            log: sequences with the folds of the evaluation fit.

        Returns:
            The fit, and the log with the events that it learned from in the training fold.

        Raises:
            RunInvalidError: the refit is damaged.
        """
        if self.fit == "final":
            return self, log.all_train()
        if self.refit is None:
            return self, log
        parts = _read_parts(RunFolder(self.refit), TOWERS, self.spec)
        return replace(self, refit=None, **parts), log.with_validation()

    def candidates(self, data: Dataset) -> CandidateGenerator:
        """Return the run's candidate generator over the sequences of `data`."""
        return CandidateGenerator(
            self.spec,
            data,
            self.user_tower,
            self.item_vectors,
            neighbours=self.neighbours,
            declared=item_features(self.declared, self.spec, self.items),
            repeats=self.recipe.rerank.repeats,
            baskets=self.recipe.split.kind != "leave_last",
            outcomes=outcomes_of(self.objectives, self.recipe, data.items),
        )

    def item_vectors_for(self, items: Items) -> Floats32:
        """Return the item tower's vectors of new items, from content alone; float32 [n, d]."""
        vectors = np.empty((len(items), self.spec.dim), np.float32)
        buckets = self.recipe.retrieval.title_buckets
        with Progress("item tower", len(items)) as bar:
            for at in range(0, len(items), _BLOCK):
                part = items.pick(range(at, min(at + _BLOCK, len(items))))
                inputs = item_inputs(self.spec, part, buckets, self.declared, known=False)
                vectors[at : at + _BLOCK] = self.item_tower(inputs, training=False)
                bar.advance(at + len(part))
        return vectors


def load_trained(run_dir: Path, *, fit: Fit = "evaluation") -> TrainedRun:
    """Load a fit of a run.

    Raises:
        RunInvalidError: a file is missing or unreadable, or the run has no final fit.
    """
    run = RunFolder(run_dir).of(fit)
    run.check_finished()
    try:
        spec = FeatureSpec.from_json(json.loads(run.feature_spec.read_bytes()))
        declared = NO_FEATURES
        if run.features.is_file():
            declared = FittedFeatures.from_json(json.loads(run.features.read_bytes()))
        objectives = _read_objectives(run.objectives, spec)
    except (OSError, ValueError, KeyError, BundleInvalidError) as err:
        raise _damaged(run.path, err) from err
    refit = run.refit.path
    return TrainedRun(
        recipe=load_recipe(run.recipe),
        spec=spec,
        items=load_items(run_dir),
        declared=declared,
        objectives=objectives,
        fit=fit,
        refit=refit if refit.is_dir() else None,
        **_read_parts(run, MODELS, spec),
    )


def _read_objectives(path: Path, spec: FeatureSpec) -> Objectives | None:
    if not path.is_file():
        return None
    value = json.loads(path.read_bytes())
    return Objectives.from_json(value, spec.heads, spec.numeric, spec.event_types)


def _read_parts(run: RunFolder, names: tuple[str, ...], spec: FeatureSpec) -> dict[str, Any]:
    """Read models by name, the item vectors and the neighbours of a fit."""
    try:
        parts: dict[str, Any] = {name: load_model(run.model(name)) for name in names}
        parts["item_vectors"] = np.load(run.item_vectors, allow_pickle=False)
        parts["neighbours"] = load_neighbours(run.neighbours) if spec.neighbours else None
    except (OSError, ValueError, KeyError) as err:
        raise _damaged(run.path, err) from err
    return parts


def _damaged(path: Path, err: Exception) -> RunInvalidError:
    return RunInvalidError(f"{path}: damaged ({err}). Train again.")
