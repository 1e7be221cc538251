from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.declared import Feature
from pocketrec_training.data.features.columns import feature_spec, numeric_columns
from pocketrec_training.data.features.declared import check_features, fit_features
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.tables import Features

BRANDS = ["b", "a", "a", "c", "b", "", "a", "x" * 300, "x" * 300]


@pytest.fixture
def fit(world):
    recipe, _, data = world

    def run(check=False, **features):
        n = len(next(iter(features.values()))[1])
        items = replace(
            data.items.pick(range(n)),
            features={
                name: np.array(values, _dtype(of)) for name, (of, values) in features.items()
            },
        )
        declared = Features(items={name: of for name, (of, _) in features.items()})
        changed = replace(recipe, features=declared)
        if check:
            check_features(changed, items, "tables")
        return fit_features(changed, items).items

    return run


def _dtype(feature):
    return object if feature.kind in ("category", "categories") else np.float32


def test_the_most_frequent_names_get_codes_and_those_of_one_item_do_not(fit):
    (found,) = fit(brand=(Feature(kind="category"), BRANDS))
    assert found.names == ("a", "b")
    (found,) = fit(brand=(Feature(kind="category", vocabulary=1), BRANDS))
    assert found.names == ("a",)


def test_an_item_counts_a_name_once(fit):
    (found,) = fit(tags=(Feature(kind="categories"), ["a|a", "b", "b|c", ""]))
    assert found.names == ("b",)


def test_bins_are_quantiles_of_the_known_numbers(fit):
    numbers = [0.0, 1, 2, 3, 4, np.nan, 1000]
    (found,) = fit(stock=(Feature(kind="number", buckets=2, clip=(0, 5)), numbers))
    assert found.edges == (0.0, 2.5, 5.0)
    (found,) = fit(stock=(Feature(kind="number"), [3.0, np.nan, 3.0]))
    assert found.edges == ()


@pytest.mark.parametrize(
    ("feature", "values", "told"),
    [
        (Feature(kind="category"), ["", ""], "no value in any item"),
        (Feature(kind="category"), ["a", "a"], "the same value in all items"),
        (Feature(kind="number"), [np.nan, np.nan], "no value"),
        (Feature(kind="flag"), [1, 1], "the same value"),
        (Feature(kind="vector", length=2), [[1, 2], [1, 2]], "the same value"),
        (Feature(kind="vector", length=2), [[np.nan] * 2] * 2, "no value"),
    ],
)
def test_a_feature_that_tells_no_items_apart_is_refused(fit, feature, values, told):
    with pytest.raises(TableInvalidError, match=rf"features\.items\.x has {told}"):
        fit(check=True, x=(feature, values))


def test_one_value_beside_unknown_ones_is_a_feature(fit):
    assert fit(check=True, x=(Feature(kind="flag"), [1, np.nan]))


def test_columns_of_the_release_are_numbers_of_the_spec(world):
    recipe, _, data = world
    stock = Feature(kind="number", ranker=True)
    features = Features(items={"weight": Feature(kind="number"), "stock": stock})
    values = np.full(len(data.items), np.nan, np.float32)
    values[:3] = (0, 2.5, 7)
    items = replace(data.items, features={"weight": values, "stock": values})
    changed = replace(recipe, features=features)
    spec = feature_spec(changed, items)
    assert spec.numeric == ("popularity", "year", "price", "stock")
    columns = numeric_columns(spec, items, np.zeros((len(items), 1), np.float32))
    assert columns[:4, 3].tolist() == [0, 2.5, 7, -1]
    below = replace(items, features={"weight": values, "stock": values - 1})
    assert feature_spec(changed, below).numeric == ("popularity", "year", "price")


def test_tables_without_the_feature_are_made_again(world):
    recipe, _, data = world
    changed = replace(recipe, features=Features(items={"brand": Feature(kind="category")}))
    with pytest.raises(TableInvalidError, match=r"no feature 'brand'.*pocketrec data"):
        fit_features(changed, data.items)
