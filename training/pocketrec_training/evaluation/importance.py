"""Permutation importance of the ranker's inputs: the loss of quality when one is shuffled.

A column, or a group of columns that belong together, is shuffled and the same lists are scored
again (Breiman 2001, section 10). Retrieval is not asked again: the lists stay as they are. Features
with the same information share their importance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.item_features import INPUTS, column_names
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_training.evaluation.question import Question
from pocketrec_training.evaluation.validation_lists import ValidationLists
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.ranker.candidate_lists import CandidateGenerator, CandidateLists
from pocketrec_training.ranker.realised import list_quality, realised, scores_of
from pocketrec_training.towers.feature_inputs import NO_FEATURES

MOST_CANDIDATES = 40_000
"""Bounds the cost: 200 lists of 200 candidates, scored `REPEATS` times for each feature."""
REPEATS = 3
_AT_ONCE = 64
"""Lists that the ranker scores at a time."""
_OF_USER = ("user_vector", "context")
"""Inputs with one row a list; all others have one row a candidate."""
_SHORT = {"item_numeric": "numeric", **dict.fromkeys(INPUTS, "features")}
"""Names of inputs in the report, where they are not those of the graph."""

Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """What is shuffled together.

    Attributes:
        name: such as "pair.times_had", or "item_vectors" for a group of columns.
        input: of the ranker's graph.
        columns: None: all columns of the input.
    """

    name: str
    input: str
    columns: tuple[int, ...] | None = None


def features_of(
    spec: FeatureSpec, inputs: Inputs, declared: FittedFeatures = NO_FEATURES
) -> list[Shuffle]:
    """Return each named feature of the inputs, and each input without names as one group.

    Args:
        spec: names of columns.
        inputs: of the ranker.
        declared: features that the ranker reads beside the columns of the spec. All columns of one
            are shuffled together, such as the codes of a list.
    """
    named: dict[str, Sequence[str]] = {
        "context": spec.context,
        "item_numeric": spec.numeric,
        "pair": spec.pair,
        **column_names(declared),
    }
    found = []
    for name in inputs:
        columns: dict[str, list[int]] = {}
        for at, column in enumerate(named.get(name, ())):
            columns.setdefault(column, []).append(at)
        found += [
            Shuffle(name=f"{_SHORT.get(name, name)}.{column}", input=name, columns=tuple(places))
            for column, places in columns.items()
        ] or [Shuffle(name=name, input=name)]
    return found


def feature_importance(
    ranker: keras.Model, candidates: CandidateGenerator, lists: CandidateLists, seed: int
) -> list[dict[str, Any]]:
    """Return the losses of each feature, the largest loss of NDCG@10 first.

    `ndcg10_loss` has a 95% interval, `low` to `high`: lists are redrawn, and each list has
    shuffles of its own, so it covers both. `auc_loss` and `log_loss_gain` are of the first head.
    A feature that is the same everywhere loses nothing and is not scored.

    Args:
        ranker: to ask.
        candidates: made the lists.
        lists: of users that the ranker did not learn from.
        seed: of the shuffles; each feature is shuffled in the same ways.
    """
    inputs, real = candidates.flat(lists), lists.real
    whole = _Quality.of(ranker, inputs, lists, candidates)
    found = []
    for feature in features_of(candidates.spec, inputs, candidates.items.typed_features):
        losses = [
            whole.less(_Quality.of(ranker, inputs | changed, lists, candidates))
            for changed in _shuffles(inputs, real, feature, seed)
        ] or [whole.less(whole)]
        ndcg = np.mean([one.ndcg for one in losses], axis=0)
        low, high = paired_bootstrap(ndcg[:, None], seed)
        found.append(
            {
                "feature": feature.name,
                "ndcg10_loss": float(ndcg.mean()),
                "low": float(low[0]),
                "high": float(high[0]),
                "auc_loss": float(np.mean([one.auc for one in losses])),
                "log_loss_gain": -float(np.mean([one.log_loss for one in losses])),
            }
        )
    return sorted(found, key=lambda one: -one["ndcg10_loss"])


def measured_importance(
    question: Question, validation: ValidationLists
) -> tuple[list[dict[str, Any]], str]:
    """Return `feature_importance` on validation lists, and what was shuffled in a sentence.

    Both are empty if no list has a positive.
    """
    cross_fit, lists = question.cross_fit, validation.lists
    if cross_fit is not None:
        lists = lists.take(np.flatnonzero(validation.folds == 0))
    lists = lists.take(np.arange(min(len(lists), MOST_CANDIDATES // lists.rows.shape[1])))
    made = validation.candidates
    if not (lists.labels[..., 0][lists.real] > 0).any() or not (
        realised(made.spec, lists, made.objectives).any()
    ):
        return [], ""
    ranker = question.trained.ranker if cross_fit is None else cross_fit.rankers[0]
    asked = (
        "the ranker that ships" if cross_fit is None else "a ranker that did not learn from them"
    )
    found = feature_importance(ranker, validation.candidates, lists, question.seed)
    return found, (
        f"Each feature is shuffled {REPEATS} times in {len(lists):,} validation lists of the "
        f"evaluation fit, one a user, and {asked} scores them again. Features of the user are "
        "shuffled between lists, all others between all candidates; retrieval is not asked again. "
        "Features with the same information share their importance"
    )


def _shuffles(
    inputs: Inputs, real: NDArray[np.bool_], feature: Shuffle, seed: int
) -> Iterator[Inputs]:
    """Yield the feature's input, shuffled in `REPEATS` ways; nothing if it is constant."""
    values = inputs[feature.input]
    part = values if feature.columns is None else values[:, feature.columns]
    places = np.flatnonzero(real.ravel())
    if not len(places) or (part[places] == part[places[0]]).all():
        return
    n, m = real.shape
    for repeat in range(REPEATS):
        rng = np.random.default_rng([seed, 5, repeat])
        if feature.input in _OF_USER:
            source = (rng.permutation(n)[:, None] * m + np.arange(m)).ravel()
        else:
            source = np.arange(n * m)
            source[places] = places[rng.permutation(len(places))]
        changed = values.copy()
        if feature.columns is None:
            changed[:] = values[source]
        else:
            changed[:, feature.columns] = part[source]
        yield {feature.input: changed}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quality:
    """Figures of one pass. ndcg: of each list, float64 [n]; auc, log_loss: of the first head."""

    ndcg: Floats64
    auc: float
    log_loss: float

    @classmethod
    def of(
        cls,
        ranker: keras.Model,
        inputs: Inputs,
        lists: CandidateLists,
        candidates: CandidateGenerator,
    ) -> "_Quality":
        """Score the inputs, [n * m, ...]."""
        spec, objectives = candidates.spec, candidates.objectives
        found = _scores(ranker, inputs, lists)
        labels, first = lists.labels[..., 0][lists.real], found[..., 0][lists.real]
        scores = found @ np.array(spec.head_weights)
        if objectives is not None:  # a shuffled column counts in the formula too
            numeric = inputs["item_numeric"].reshape(lists.numeric.shape)
            shown = replace(lists, numeric=numeric)
            scores = scores_of(spec, shown, found, objectives)
            labels = (labels > 0).astype(np.float32)
        return cls(
            ndcg=list_quality(spec, scores, lists, objectives),
            auc=metrics.roc_auc(labels, first),
            log_loss=metrics.log_loss(labels, first),
        )

    def less(self, other: "_Quality") -> "_Quality":
        """Return the difference to another pass."""
        return _Quality(
            ndcg=self.ndcg - other.ndcg,
            auc=self.auc - other.auc,
            log_loss=self.log_loss - other.log_loss,
        )


def _scores(ranker: keras.Model, inputs: Inputs, lists: CandidateLists) -> Floats32:
    n, m = lists.rows.shape
    parts = [
        np.asarray(ranker.predict_on_batch({name: v[part] for name, v in inputs.items()}))
        for part in (slice(at * m, (at + _AT_ONCE) * m) for at in range(0, n, _AT_ONCE))
    ]
    return np.concatenate(parts).reshape(n, m, -1)
