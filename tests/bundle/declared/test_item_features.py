"""Item features of a release: values, files and the ranker's inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import Encoded, encoded_vectors
from pocketrec_bundle.declared.item_features import RECORDS, file_of, open_item_features
from pocketrec_bundle.declared.write import feature_files, in_memory
from pocketrec_bundle.errors import BundleInvalidError

NAN = float("nan")
BRAND = FittedFeature(
    name="brand",
    feature=Feature(kind="category", vocabulary=3, hash_buckets=2, ranker=True),
    names=("acme", "bolt", "core"),
)
TAGS = FittedFeature(
    name="tags", feature=Feature(kind="categories", most=3, ranker=True), names=("a", "b")
)
MARGIN = FittedFeature(
    name="margin", feature=Feature(kind="number", ranker=True), edges=(-3.0, 0.0, 4.0)
)
IMAGE = FittedFeature(name="image", feature=Feature(kind="vector", length=2, ranker=True))
ALL = FittedFeatures(items=(BRAND, IMAGE, MARGIN, TAGS))
VALUES = {
    "brand": Encoded(np.array([[1], [0], [5], [3]], np.int32)),
    "image": encoded_vectors(np.array([[3, 4], [NAN, NAN], [0, -2], [1, 0]], np.float32)),
    "margin": Encoded(np.array([-3, NAN, 0, 4], np.float32)),
    "tags": Encoded(np.array([[2, 1, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]], np.int32)),
}


class _Files:
    def __init__(self, arrays):
        self.arrays = arrays

    def array(self, name):
        return self.arrays[name]

    def lists(self, name):
        return name in self.arrays


def test_inputs_are_codes_numbers_with_known_flags_and_vectors():
    found = in_memory(ALL, VALUES, 4).inputs(np.array([3, 1, 0]))
    assert found["item_codes"].tolist() == [[3, 2, 0, 0], [0, 0, 0, 0], [1, 2, 1, 0]]
    assert found["item_codes"].dtype == np.int32
    assert found["item_numbers"].tolist() == [[4, 1], [0, 0], [-3, 1]]
    assert found["item_embeddings"] == pytest.approx(
        np.array([[1, 0], [0, 0], [0.6, 0.8]]), abs=0.01
    )


def test_an_input_without_columns_is_not_there():
    only = FittedFeatures(items=(MARGIN,))
    assert [*in_memory(only, VALUES, 4).inputs(np.array([0]))] == ["item_numbers"]


def test_values_that_are_equal_everywhere_take_no_field():
    same = {"margin": Encoded(np.full(4, -2, np.float32))}
    features, arrays = feature_files(FittedFeatures(items=(MARGIN,)), same)
    assert features.record == (0,)
    assert {name: one.tolist() for name, one in arrays.items()} == {file_of(0, "values"): [-2]}
    opened = open_item_features(features, _Files(arrays), 4)
    assert opened.inputs(np.array([3]))["item_numbers"].tolist() == [[-2, 1]]


def test_numbers_that_seldom_repeat_lie_by_row_with_a_bit_for_known_ones():
    numbers = np.arange(100, dtype=np.float32) - 50
    numbers[7] = np.nan
    values = {"margin": Encoded(numbers)}
    features, arrays = feature_files(FittedFeatures(items=(MARGIN,)), values)
    assert features.record == (0,)
    assert [*arrays] == [file_of(0, "values"), file_of(0, "known")]
    opened = open_item_features(features, _Files(arrays), 100)
    assert opened.inputs(np.array([6, 7]))["item_numbers"].tolist() == [[-44, 1], [0, 0]]


def test_fields_take_as_many_bits_as_their_values_need():
    rng = np.random.default_rng(3)
    n = 20_000
    values = {
        "brand": Encoded(rng.integers(0, 6, (n, 1)).astype(np.int32)),
        "margin": Encoded(rng.integers(-100, 100, n).astype(np.float32)),
    }
    features, arrays = feature_files(FittedFeatures(items=(BRAND, MARGIN)), values)
    assert features.record == (3, 8)
    assert arrays[RECORDS].shape == (n, 2)


def test_tables_of_the_previous_release_are_extended():
    before, base = feature_files(FittedFeatures(items=(MARGIN,)), _margins([5, 5, 2, NAN] * 9))
    after, arrays = feature_files(before, _margins([1, 5, NAN, 2] * 9), _Files(base))
    values = arrays[file_of(0, "values")].tolist()
    assert values[:3] == base[file_of(0, "values")].tolist()
    assert values[3:] == [1]
    read = open_item_features(after, _Files(arrays), 36).inputs(np.arange(4))["item_numbers"]
    assert read.tolist() == [[1, 1], [5, 1], [0, 0], [2, 1]]


def _margins(numbers):
    return {"margin": Encoded(np.array(numbers, np.float32))}


@given(data=st.data(), n=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_files_give_back_all_values(data, n):
    kinds = data.draw(
        st.lists(
            st.sampled_from(["category", "categories", "number", "flag", "vector"]), max_size=6
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    items, values = [], {}
    for place, kind in enumerate(kinds):
        name = f"f{place}"
        most, words = int(rng.integers(1, 5)), int(rng.integers(1, 40))
        coded = kind in ("category", "categories")
        feature = Feature(
            kind=kind,
            ranker=True,
            vocabulary=50 if coded else 1000,
            hash_buckets=int(rng.integers(0, 9)) if coded else 0,
            most=most if kind == "categories" else 8,
            length=3 if kind == "vector" else 0,
        )
        fitted = FittedFeature(
            name=name, feature=feature, names=tuple(map(str, range(words))) if coded else ()
        )
        items.append(fitted)
        if coded:
            top = int(rng.integers(1, fitted.n_codes + 2))
            codes = rng.integers(0, top, (n, fitted.width)).astype(np.int32)
            values[name] = Encoded(codes)
        elif kind == "vector":
            vectors = rng.normal(size=(n, 3)).astype(np.float32)
            vectors[rng.random(n) < 0.3] = np.nan
            values[name] = encoded_vectors(vectors)
        else:
            numbers = rng.integers(-4, 1 << int(rng.integers(1, 20)), n).astype(np.float32)
            numbers[rng.random(n) < rng.random()] = np.nan
            values[name] = Encoded(numbers)
    features, arrays = feature_files(FittedFeatures(items=tuple(items)), values)
    assert FittedFeatures.from_json(features.to_json()) == features
    opened = open_item_features(features, _Files(arrays), n)
    found = opened.encoded()
    assert found.keys() == values.keys()
    for name, one in values.items():
        assert np.array_equal(found[name].values, one.values, equal_nan=one.values.dtype == "f4")
        assert found[name].values.dtype == one.values.dtype
        again, scales = found[name].scales, one.scales
        assert (again is None) == (scales is None)
        assert again is None or scales is None or np.array_equal(again, scales)
    rows = rng.integers(0, n, 5)
    for name, part in opened.inputs(np.arange(n)).items():
        assert np.array_equal(part[rows], opened.inputs(rows)[name])


def _broken(change):
    features, arrays = feature_files(ALL, VALUES)
    changed = {name: one.copy() for name, one in arrays.items()}
    record = [*features.record]
    change(changed, record)
    value = features.to_json() | {"record": record}
    return FittedFeatures.from_json(value), _Files(changed)


def test_broken_files_are_refused():
    def refused(change):
        with pytest.raises(BundleInvalidError) as caught:
            features, files = _broken(change)
            open_item_features(features, files, 4)
        return caught.value.code

    assert refused(lambda a, r: r.pop()) == "features_value"
    assert refused(lambda a, r: r.__setitem__(1, 3)) == "features_value"  # a vector
    assert refused(lambda a, r: a.__setitem__(RECORDS, a[RECORDS][:3])) == "array_form"
    assert refused(lambda a, r: a.__setitem__(RECORDS, a[RECORDS][:, :-1])) == "array_form"
    assert refused(lambda a, r: a[RECORDS].__setitem__((0, 0), 255)) == "out_of_range"
    rows = file_of(1, "rows")
    assert refused(lambda a, r: a.__setitem__(rows, a[rows].astype(np.int32))) == "array_form"
    numbers = file_of(2, "values")
    assert refused(lambda a, r: a[numbers].__setitem__(0, np.inf)) == "not_finite"
