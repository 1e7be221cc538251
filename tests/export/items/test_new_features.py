import json

import numpy as np
import pytest

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.errors import InputError
from pocketrec_export.items.changes import read_changes
from pocketrec_export.items.new_features import check_complete, new_features

DECLARED = FittedFeatures(
    items=tuple(
        FittedFeature(name=name, feature=feature)
        for name, feature in {
            "about": Feature(kind="text", hash_buckets=8),
            "brand": Feature(kind="category"),
            "image": Feature(kind="vector", length=2),
            "is_new": Feature(kind="flag"),
            "stock": Feature(kind="number"),
            "tags": Feature(kind="categories"),
        }.items()
    )
)
GOOD = {
    "about": " Red, | blue\n",
    "brand": " Acme ",
    "image": [1, 0.5],
    "is_new": True,
    "stock": -3,
    "tags": ["a", "b "],
}


@pytest.fixture
def read(tmp_path):
    def features(*items):
        path = tmp_path / "changes.json"
        added = [{"item_id": f"n{n}"} | one for n, one in enumerate(items)]
        path.write_text(json.dumps({"add": added}))
        changes = read_changes(path)
        rows = zip(changes.add.ids, changes.add_features, strict=True)
        return new_features(DECLARED, rows, "changes.json")

    return features


def test_values_of_a_file_become_those_of_tables(read):
    found = read({"features": GOOD}, {"features": {"stock": None}}, {})
    assert found["about"].tolist() == ["Red, | blue", "", ""]
    assert found["brand"].tolist() == ["Acme", "", ""]
    assert found["tags"].tolist() == ["a|b", "", ""]
    assert np.array_equal(found["image"], [[1, 0.5], [np.nan] * 2, [np.nan] * 2], equal_nan=True)
    assert found["is_new"].tolist()[0] == 1 and found["stock"].tolist()[0] == -3
    assert np.isnan(found["stock"][1:]).all()


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"brandd": "Acme"}, "'brandd' is not a feature of the run"),
        ({"about": 3}, "about: expected a text of at most 10,000"),
        ({"about": "x" * 10_001}, "about: expected a text of at most 10,000"),
        ({"brand": 3}, "brand: expected a text"),
        ({"brand": "x" * 257}, "brand: expected a text of at most 256"),
        ({"image": [1, 2, 3]}, "image: expected a list of 2 finite numbers"),
        ({"image": [1, "2"]}, "image: expected a list of 2"),
        ({"image": [1, 1e300]}, "image: expected a list of 2"),
        ({"is_new": 1}, "is_new: expected true or false"),
        ({"stock": "3"}, "stock: expected a finite number"),
        ({"stock": True}, "stock: expected a finite number"),
        ({"tags": "a"}, "tags: expected a list of texts"),
        ({"tags": ["a|b"]}, "tags: expected a list of texts"),
        ({"tags": [1]}, "tags: expected a list of texts"),
    ],
)
def test_a_wrong_value_is_named_with_its_item(read, features, told):
    with pytest.raises(InputError, match=rf"changes\.json: .*{told}"):
        read({"features": features})


def test_features_are_an_object(read):
    with pytest.raises(InputError, match="not an item with"):
        read({"features": ["Acme"]})


def test_a_column_of_the_release_has_no_number_below_0():
    stock = FittedFeature(name="stock", feature=Feature(kind="number", ranker=True))
    declared = FittedFeatures(items=(stock,))

    def stock_of(number, numeric=("stock",)):
        found = new_features(declared, [("i1", {"stock": number})], "c.json", numeric)
        return found["stock"].tolist()

    assert stock_of(0) == [0]
    with pytest.raises(InputError, match="of at least 0, found -1"):
        stock_of(-1)
    assert stock_of(-1, numeric=()) == [-1]  # a typed column of format 3


def test_a_joined_item_gives_all_its_features_again():
    for values in (None, {}, {"brand": "Acme"}):
        with pytest.raises(InputError, match="'i1' joined after training") as caught:
            check_complete(DECLARED, "i1", values, "c.json")
    assert "image, is_new, stock, tags are not given" in str(caught.value)
    check_complete(DECLARED, "i1", dict.fromkeys(GOOD), "c.json")
    check_complete(FittedFeatures(), "i1", None, "c.json")
