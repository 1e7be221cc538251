"""Load a finished run folder, for export and evaluation."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

import pocketrec_training.ranker.model as ranker_model
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_training.data.dataset import Dataset, Items, load_items
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.neighbours.fit import load_neighbours
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import MODELS, Fit, RunFolder
from pocketrec_training.saved_model import load_model
from pocketrec_training.towers import item_tower, user_tower
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
        later_neighbours: those of `as_released`.
        fit: which of the run's fits this is.
    """

    recipe: Recipe
    spec: FeatureSpec
    items: Items
    item_vectors: Floats32
    user_tower: keras.Model
    item_tower: keras.Model
    ranker: keras.Model
    neighbours: Neighbours | None
    later_neighbours: Neighbours | None
    fit: Fit = "evaluation"

    def as_released(self, log: Dataset) -> "tuple[TrainedRun, Dataset]":
        """Return this fit as it answers after its events: with neighbours and counts of them all.

        What is counted needs no validation. So the neighbours and the popularity of an evaluation
        fit count the validation events too, as baselines that answer test cases do. Towers and
        ranker are the same.

        Args:
            log: sequences with the folds of the evaluation fit.

        Returns:
            The fit, and the log with the counted events in the training fold: all for a final fit,
            otherwise all but the test events.
        """
        if self.fit == "final":
            return self, log.all_train()
        return replace(self, neighbours=self.later_neighbours), log.with_validation()

    def candidates(self, data: Dataset) -> CandidateGenerator:
        """Return the run's candidate generator over the sequences of `data`."""
        return CandidateGenerator(
            self.spec,
            data,
            self.user_tower,
            self.item_vectors,
            neighbours=self.neighbours,
            repeats=self.recipe.rerank.repeats,
            baskets=self.recipe.split.kind != "leave_last",
        )

    def item_vectors_for(self, items: Items) -> Floats32:
        """Return the item tower's vectors of new items, from content alone; float32 [n, d]."""
        vectors = np.empty((len(items), self.spec.dim), np.float32)
        buckets = self.recipe.retrieval.title_buckets
        with Progress("item tower", len(items)) as bar:
            for at in range(0, len(items), _BLOCK):
                part = items.pick(range(at, min(at + _BLOCK, len(items))))
                inputs = item_inputs(self.spec, part, buckets, known=False)
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
        models = {name: load_model(run.model(name)) for name in MODELS}
        vectors = np.load(run.item_vectors, allow_pickle=False)
        neighbours = load_neighbours(run.neighbours) if spec.neighbours else None
        later = neighbours
        if neighbours is not None and run.later_neighbours.is_file():
            later = load_neighbours(run.later_neighbours)
    except (OSError, ValueError, KeyError) as err:
        raise RunInvalidError(f"{run.path}: damaged ({err}). Train again.") from err
    return TrainedRun(
        recipe=load_recipe(run.recipe),
        spec=spec,
        items=load_items(run_dir),
        item_vectors=vectors,
        neighbours=neighbours,
        later_neighbours=later,
        fit=fit,
        **models,
    )
