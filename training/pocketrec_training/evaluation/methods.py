"""The trained model as a method beside the baselines: retrieval alone, and both stages."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.objectives import final_scores
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Cases, Setting
from pocketrec_training.metrics.ranks import BlockScorer, RankedTargets
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.cross_fit import CrossFit
from pocketrec_training.towers.user_vectors import tower_scorer, user_vectors
from pocketrec_training.trained import TrainedRun

_AT_ONCE = 64
"""Lists that the ranker scores at a time."""


class ShippedMethod(Protocol):
    """A release on a phone's code, as `pocketrec_export.gates.shipped` makes one of a bundle."""

    def check(self, data: Dataset) -> None:
        """Refuse data that the release was not made of."""

    def answer(self, data: Dataset, cases: Cases, k: int) -> RankedTargets:
        """Return slates of k items; a target that is not shown has rank n_items."""

    def facts(self) -> Mapping[str, Any]:
        """Return facts for the report, among them `name` and `notes`."""


def two_tower(trained: TrainedRun, data: Dataset) -> BlockScorer:
    """Score all items by the inner product of user vector and item vector."""
    return tower_scorer(trained.user_tower, trained.item_vectors, trained.spec, data)


def two_stage(
    trained: TrainedRun,
    data: Dataset,
    candidates: CandidateGenerator,
    setting: Setting,
    cross_fit: CrossFit | None = None,
) -> BlockScorer:
    """Order the ranker's candidates by the ranker; all others keep their places below.

    Args:
        trained: the run.
        data: gives the histories.
        candidates: runs retrieval for them.
        setting: in `new_to_user` known items do not take up candidates, as on the device.
        cross_fit: for validation cases, so that no ranker meets a user it learned from.
    """
    spec, weights = trained.spec, np.array(trained.spec.head_weights)
    objectives = trained.objectives

    def score(block: list[tuple[int, int]]) -> np.ndarray:
        vectors = user_vectors(trained.user_tower, trained.item_vectors, spec, data, block)
        scores = np.asarray(vectors @ trained.item_vectors.T, np.float64)
        ranked = scores - 1e6
        fold_of = np.zeros(len(block), np.int64)
        rankers: Sequence[keras.Model] = (trained.ranker,)
        if cross_fit is not None:
            fold_of[:] = [cross_fit.fold(data.user_ids[user]) for user, _ in block]
            rankers = cross_fit.rankers
        for fold, ranker in enumerate(rankers):
            chosen = np.flatnonzero(fold_of == fold)
            for at in (chosen[i : i + _AT_ONCE] for i in range(0, len(chosen), _AT_ONCE)):
                rows = [
                    candidates.list_for(block[i], vectors[i], repeats=setting == "all") for i in at
                ]
                inputs = [
                    _flat(candidates.inputs_for(block[i], vectors[i], each), len(each))
                    for i, each in zip(at, rows, strict=True)
                ]
                together = {
                    name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]
                }
                outputs = np.asarray(ranker.predict_on_batch(together))
                found = outputs @ weights
                if objectives is not None:
                    found = final_scores(spec, objectives, outputs, together["item_numeric"]).scores
                ranked[np.repeat(at, [len(each) for each in rows]), np.concatenate(rows)] = found
        return ranked

    return score


def _flat(inputs: dict[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """Repeat the user's inputs for each of the n items, so that lists can be joined."""
    return {
        name: np.repeat(value, n, axis=0) if name in ("user_vector", "context") else value
        for name, value in inputs.items()
    }
