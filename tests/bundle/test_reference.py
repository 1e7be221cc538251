"""Reference distributions: bins of equal counts, and a form that is read strictly."""

import json

import numpy as np
import pytest

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.reference import Histogram, Reference, category_counts, reference_of


@pytest.fixture
def spec():
    return FeatureSpec(
        dim=4,
        max_history=8,
        event_types=("view", "buy"),
        categories=("a", "b", "c"),
        max_categories=2,
        heads=("engage",),
        head_weights=(1.0,),
        candidates=5,
    )


def test_bins_have_about_equal_counts():
    made = Histogram.of(np.arange(1000, dtype=np.float64))
    assert made.edges == (99, 199, 299, 399, 499, 599, 699, 799, 899)
    assert made.counts == (99, *[100] * 8, 101)
    assert made.names()[:2] == ["below 99", "99 to 199"] and made.names()[-1] == "899 or more"


def test_a_value_with_a_weight_counts_as_often():
    values = np.array([3.0, 1.0, 2.0])
    weighted = Histogram.of(values, np.array([1, 5, 4]))
    assert weighted == Histogram.of(np.repeat(values, [1, 5, 4]))
    assert sum(weighted.counts) == 10


def test_many_equal_values_share_a_bin():
    made = Histogram.of(np.array([0.0] * 95 + [1.0] * 5))
    assert (made.edges, made.counts) == ((), (100,))
    made = Histogram.of(np.array([0.0] * 50 + [1.0] * 50))
    assert (made.edges, made.counts) == ((1.0,), (50, 50))
    assert list(made.count(np.array([-9.0, 1.0, 2.0]))) == [1, 2]
    assert Histogram.of(np.zeros(0)).counts == (0,)


def test_an_item_counts_in_each_of_its_categories(spec):
    codes = np.array([[1, 2], [1, 0], [3, 0]])
    assert list(category_counts(spec, codes, np.array([10, 1, 0]))) == [11, 10, 0]


@pytest.fixture
def made(spec):
    n = len(spec.numeric)
    return reference_of(
        spec=spec,
        events=np.array([0, 0, 1]),
        item_counts=np.array([1, 0, 2]),
        categories=np.array([[1, 2], [1, 0], [3, 0]]),
        numeric=np.array([[1.0] * n, [5.0] * n, [3.0] * n]),
        scores=np.linspace(0, 1, 50),
        until_utc=1000,
    )


def test_training_data_is_counted_by_event_category_and_feature(made):
    assert made.events == {"view": 2, "buy": 1}
    assert made.categories == {"c": 2, "a": 1, "b": 1} and made.other_categories == 0
    assert made.numeric["popularity"] == Histogram(edges=(3.0,), counts=(1, 2))
    assert len(made.scores.counts) == 10 and sum(made.scores.counts) == 50
    assert Reference.from_json(json.loads(canonical_json(made.to_json()))) == made


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"events": {"view": -1}},
        {"events": {"view": True}},
        {"categories": {str(n): 1 for n in range(51)}},
        {"scores": {"edges": [1.0], "counts": [1]}},
        {"scores": {"edges": [2.0, 1.0], "counts": [1, 1, 1]}},
        {"scores": {"edges": [float("nan")], "counts": [1, 1]}},
        {"scores": {"edges": list(range(64)), "counts": [1] * 65}},
        {"numeric": []},
        {"interactions": None},
    ],
)
def test_another_form_is_refused(made, change):
    with pytest.raises(InputError, match=r"model_card.json: reference"):
        Reference.from_json(made.to_json() | change)


def test_a_missing_key_is_refused(made):
    value = made.to_json()
    del value["scores"]
    with pytest.raises(InputError, match="scores"):
        Reference.from_json(value)
