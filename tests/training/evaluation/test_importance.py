"""Permutation importance: what is shuffled, repeatability, and which features win."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.evaluation import importance
from pocketrec_training.evaluation.importance import feature_importance, features_of
from pocketrec_training.ranker.candidate_lists import feature_names
from pocketrec_training.ranker.fit import fit_ranker, ndcg10


class Plain:
    """A ranker that orders by one column of an input and counts its calls."""

    def __init__(self, name: str, column: int) -> None:
        self.name, self.column, self.calls = name, column, 0

    def predict_on_batch(self, inputs: dict[str, Any]) -> Any:
        self.calls += 1
        values = inputs[self.name][:, self.column].astype(float)
        return np.repeat((1 / (1 + np.exp(-values)))[:, None], 2, axis=1)


@pytest.fixture(scope="module")
def lists(world, make_candidates):
    _, _, data = world
    candidates = make_candidates(data)
    return candidates, candidates.lists_for(data.held_out(VALID))


def test_every_input_of_the_ranker_is_shuffled_once_alone_or_in_a_group(lists):
    candidates, found = lists
    names = [each.name for each in features_of(candidates.spec, candidates.flat(found))]
    groups = {"user_vector", "item_vectors", "item_categories"}
    assert set(names) == groups | (set(feature_names(candidates.spec)) - {"rows"})
    assert len(names) == len(set(names))


def test_only_the_column_that_a_ranker_reads_has_an_importance(lists):
    candidates, found = lists
    at = candidates.spec.pair.index("retrieval_score")
    ranker: Any = Plain("pair", at)
    first, *others = feature_importance(ranker, candidates, found, seed=3)
    assert first["feature"] == "pair.retrieval_score"
    scores = found.pair[..., at]
    # Shuffled, the order is random: all that it adds to chance is lost.
    assert 0 < first["ndcg10_loss"] <= ndcg10(scores, found)
    assert first["low"] < first["ndcg10_loss"] < first["high"]
    assert first["auc_loss"] > 0
    for one in others:
        assert all(value == 0 for name, value in one.items() if name != "feature"), one


def test_the_same_seed_gives_the_same_figures_and_another_one_others(lists):
    candidates, found = lists
    ranker: Any = Plain("pair", candidates.spec.pair.index("retrieval_score"))
    one, two, other = (feature_importance(ranker, candidates, found, seed=s) for s in (3, 3, 4))
    assert one == two != other


def test_a_constant_feature_is_not_scored(lists):
    candidates, found = lists
    ranker: Any = Plain("pair", 0)
    features = features_of(candidates.spec, candidates.flat(found))
    feature_importance(ranker, candidates, found, seed=3)
    constant = {"pair.times_had"}  # nobody met what is left after the seen filter
    most = 1 + importance.REPEATS * (len(features) - len(constant))
    passes = ranker.calls / -(-len(found) // 64)
    assert 1 < passes <= most


def test_user_features_are_shuffled_between_lists_and_stay_equal_within_one(lists):
    candidates, found = lists
    inputs = candidates.flat(found)
    n, m = found.rows.shape
    user, context = (
        next(each for each in features_of(candidates.spec, inputs) if each.name == name)
        for name in ("user_vector", "context.hour")
    )
    for feature in (user, context):
        for changed in importance._shuffles(inputs, found.real, feature, seed=1):
            rows = changed[feature.input].reshape(n, m, -1)
            assert (rows == rows[:, :1]).all()
            assert (rows != inputs[feature.input].reshape(n, m, -1)).any()
            assert sorted(rows.ravel()) == sorted(inputs[feature.input].ravel())
    assert context.columns is not None
    others = [i for i in range(inputs["context"].shape[1]) if i not in context.columns]
    assert (changed["context"][:, others] == inputs["context"][:, others]).all()


def test_a_trained_ranker_loses_most_without_what_decides(world, make_candidates, uncompiled):
    recipe, spec, data = world
    keras.utils.set_random_seed(0)
    candidates = make_candidates(data)
    longer = dataclasses.replace(recipe, ranker=dataclasses.replace(recipe.ranker, epochs=25))
    with uncompiled():
        ranker = fit_ranker(longer, spec, candidates, 0.0).ranker
    found = feature_importance(
        ranker, candidates, candidates.lists_for(data.held_out(TEST)), seed=1
    )
    assert max(one["auc_loss"] for one in found) > 0.02
    assert found[0]["ndcg10_loss"] > 0
    by_name = {one["feature"]: one for one in found}
    assert by_name["pair.times_had"]["ndcg10_loss"] == by_name["pair.times_had"]["auc_loss"] == 0


def test_all_columns_of_a_declared_feature_are_shuffled_together():
    tags = FittedFeature(name="tags", feature=Feature(kind="categories", most=2, ranker=True))
    margin, size = (
        FittedFeature(name=name, feature=Feature(kind="number", ranker=True))
        for name in ("margin", "size")
    )
    declared = FittedFeatures(items=(margin, size, tags))
    inputs: dict[str, NDArray[Any]] = {
        "item_numbers": np.zeros((1, 4)),
        "item_codes": np.zeros((1, 2), np.int32),
    }
    found = features_of(SPEC_OF_NOTHING, inputs, declared)
    assert {each.name: (each.input, each.columns) for each in found} == {
        "features.margin": ("item_numbers", (0, 2)),  # its value, and whether it is known
        "features.size": ("item_numbers", (1, 3)),
        "features.tags": ("item_codes", (0, 1)),
    }


SPEC_OF_NOTHING = FeatureSpec(
    dim=1,
    max_history=1,
    event_types=("a",),
    categories=(),
    max_categories=1,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=1,
)
