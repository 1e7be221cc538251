import json
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError

BRAND = FittedFeature(
    name="brand", feature=Feature(kind="category", hash_buckets=5), names=("Acme", "Bolt")
)
TAGS = FittedFeature(name="tags", feature=Feature(kind="categories", most=3), names=("a", "b", "c"))
STOCK = FittedFeature(
    name="stock", feature=Feature(kind="number", log=True, clip=(0, 99)), edges=(0.0, 1.5, 4.0)
)
IMAGE = FittedFeature(name="image", feature=Feature(kind="vector", length=3))
RANKED = FittedFeature(name="size", feature=Feature(kind="number", ranker=True))
ALL = FittedFeatures(items=(BRAND, IMAGE, STOCK, TAGS))


def test_codes_are_places_of_the_vocabulary_then_hash_buckets():
    assert [BRAND.code(name) for name in ("Acme", "Bolt", "")] == [1, 2, 0]
    assert BRAND.code("Zed") == 3 + crc32(b"Zed") % 5
    assert BRAND.n_codes == 7
    assert TAGS.code("z") == 0


@given(st.text())
def test_every_text_has_a_code_in_range_and_only_the_empty_one_has_none(name):
    assert 0 <= BRAND.code(name) <= BRAND.n_codes
    assert (BRAND.code(name) == 0) == (name == "")


def test_a_row_keeps_its_first_known_names_each_once():
    rows = [("c", "z", "c", "a"), (), ("a", "b", "c", "d")]
    assert TAGS.codes(rows).tolist() == [[3, 1, 0], [0, 0, 0], [1, 2, 3]]
    assert BRAND.codes([("Bolt",), ()]).tolist() == [[2], [0]]


def test_numbers_are_clipped_then_logarithms_and_unknown_ones_stay():
    found = STOCK.scaled(np.array([-3, 0, np.e - 1, 1e6, np.nan]))
    assert found.dtype == np.float32
    assert np.allclose(found, [0, 0, 1, np.log(100), np.nan], equal_nan=True)


def test_features_survive_their_file():
    assert FittedFeatures.from_json(json.loads(json.dumps(ALL.to_json()))) == ALL


def test_the_source_s_column_is_not_in_the_file():
    named = FittedFeature(name="x", feature=Feature(kind="flag", column="secret column"))
    assert "column" not in json.dumps(FittedFeatures(items=(named,)).to_json())


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"kind": 3}),
        (0, {"embedding": 65}),
        (0, {"names": ["Acme", "Acme"]}),
        (0, {"names": [""]}),
        (0, {"names": "Acme"}),
        (0, {"vocabulary": 1}),
        (0, {"vocabulary": True}),
        (0, {"more": 1}),
        (0, {"name": 7}),
        (1, {"length": 0}),
        (2, {"edges": [1.0, 1.0]}),
        (2, {"edges": [0.0, float("nan")]}),
        (2, {"clip": [1]}),
        (2, {"clip": [3, 1]}),
        (2, {"log": 1}),
        (2, {"missing": "0"}),
        (3, {"name": "brand"}),
    ],
)
def test_a_damaged_file_is_refused(place, change):
    value = ALL.to_json()
    value["items"][place] |= change
    with pytest.raises(BundleInvalidError, match=r"features\.json") as caught:
        FittedFeatures.from_json(value)
    assert caught.value.code == ("features_keys" if "more" in change else "features_value")


@pytest.mark.parametrize("value", [None, {}, {"version": 1, "items": []}, {"version": 1}])
def test_another_form_is_refused(value):
    with pytest.raises(BundleInvalidError, match=r"features\.json") as caught:
        FittedFeatures.from_json(value)
    assert caught.value.code == "features_keys"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"profile": [{"name": "country"}]},
        {"request": [{"name": "screen"}]},
        {"items": [{"kind": "sound", "rate": 3}]},
    ],
)
def test_a_feature_of_a_later_version_asks_for_a_newer_app(change):
    with pytest.raises(BundleTooNewError, match="Update the app"):
        FittedFeatures.from_json(ALL.to_json() | change)


@pytest.mark.parametrize("record", [[25], [-1], [True], ["1"], 3, [1] * 65])
def test_sizes_of_fields_have_bounds(record):
    with pytest.raises(BundleInvalidError, match="record") as caught:
        FittedFeatures.from_json(ALL.to_json() | {"record": record})
    assert caught.value.code == "features_value"


def test_the_ranker_reads_what_no_numeric_column_holds():
    read = FittedFeatures(items=(RANKED, replace(RANKED, name="other"), BRAND))
    assert read.for_ranker(["other"]).items == (RANKED,)
