"""The trained model as a method beside the baselines: retrieval alone, and both stages."""

import numpy as np

from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Setting
from pocketrec_training.metrics.ranks import BlockScorer
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.cross_fit import CrossFit
from pocketrec_training.towers.user_vectors import tower_scorer, user_vectors
from pocketrec_training.trained import TrainedRun


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

    def score(block: list[tuple[int, int]]) -> np.ndarray:
        vectors = user_vectors(trained.user_tower, trained.item_vectors, spec, data, block)
        scores = np.asarray(vectors @ trained.item_vectors.T, np.float64)
        ranked = scores - 1e6
        for at, case in enumerate(block):
            rows = candidates.list_for(case, vectors[at], repeats=setting == "all")
            inputs = candidates.inputs_for(case, vectors[at], rows)
            ranker = trained.ranker
            if cross_fit is not None:
                ranker = cross_fit.rankers[cross_fit.fold(data.user_ids[case[0]])]
            ranked[at, rows] = np.asarray(ranker.predict_on_batch(inputs)) @ weights
        return ranked

    return score
