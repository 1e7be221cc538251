"""What the ranker must beat, given the same features and lists: logistic regression, LightGBM.

Both read the ranker's own inputs after its in-graph preprocessing (`FeatureTransform`), so they
start from the same logarithms, differences and products; their settings are those that did best on
validation lists of MovieLens-100K out of the grids named below.
"""

from collections.abc import Callable
from typing import Any

import keras
import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pocketrec_bundle.floats import Floats64
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists
from pocketrec_training.ranker.epochs import features


def logistic(inputs: NDArray[np.float32], labels: NDArray[np.float32], seed: int) -> Any:
    """Fit L2 logistic regression on standardised features; C of .0001, .001, .01, .1."""
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=200, random_state=seed)
    ).fit(inputs, labels)


def gradient_boosting(inputs: NDArray[np.float32], labels: NDArray[np.float32], seed: int) -> Any:
    """Fit LightGBM (Ke et al. 2017); leaves of 4, 8, 16 and 100 to 300 trees."""
    model = lightgbm.LGBMClassifier(
        n_estimators=150,
        learning_rate=0.03,
        num_leaves=8,
        min_child_samples=200,
        colsample_bytree=0.5,
        subsample=0.5,
        subsample_freq=1,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    return model.fit(inputs, labels)


RANKING_BASELINES: dict[str, Callable[..., Any]] = {
    "logistic": logistic,
    "lightgbm": gradient_boosting,
}


def baseline_scores(
    name: str,
    ranker: keras.Model,
    candidates: CandidateGenerator,
    learn: CandidateLists,
    measure: CandidateLists,
    seed: int,
) -> Floats64:
    """Fit a baseline on lists and score others by the first head's probability, float64 [n, m]."""
    real = learn.real.ravel()
    made = RANKING_BASELINES[name](
        features(ranker, candidates, learn)[real], learn.labels[..., 0].ravel()[real], seed
    )
    inputs = features(ranker, candidates, measure)
    found: Floats64 = made.predict_proba(inputs)[:, 1].reshape(measure.rows.shape)
    return found
