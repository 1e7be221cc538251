"""The trained model as a method beside the baselines: retrieval alone, and both stages."""

import numpy as np

from training.cases import Setting
from training.dataset import Dataset
from training.placement import BlockScorer
from training.slates import Candidates
from training.trained import Trained
from training.user_vectors import user_vectors


def two_tower(trained: Trained, data: Dataset) -> BlockScorer:
    """Score all items by the inner product of user vector and item vector."""

    def score(block: list[tuple[int, int]]) -> np.ndarray:
        vectors = user_vectors(trained.user_tower, trained.item_vectors, trained.spec, data, block)
        return np.asarray(vectors @ trained.item_vectors.T, np.float64)

    return score


def two_stage(
    trained: Trained, data: Dataset, candidates: Candidates, setting: Setting
) -> BlockScorer:
    """Order the ranker's candidates by the ranker; all others keep their places below.

    setting: in `new_to_user` known items do not take up candidates, as on the device.
    """
    spec, weights = trained.spec, np.array(trained.spec.head_weights)

    def score(block: list[tuple[int, int]]) -> np.ndarray:
        vectors = user_vectors(trained.user_tower, trained.item_vectors, spec, data, block)
        scores = np.asarray(vectors @ trained.item_vectors.T, np.float64)
        ranked = scores - 1e6
        for at, case in enumerate(block):
            rows = candidates.list_for(case, vectors[at], repeats=setting == "all")
            inputs = candidates.inputs_for(case, vectors[at], rows)
            ranked[at, rows] = np.asarray(trained.ranker.predict_on_batch(inputs)) @ weights
        return ranked

    return score
