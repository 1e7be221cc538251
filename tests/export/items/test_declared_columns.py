"""Declared numbers of items: tables, release and catalogue updates have equal values."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import NUMERIC, FeatureSpec
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.items.apply_changes import apply_changes
from pocketrec_export.items.catalogue import known_items
from pocketrec_export.items.changes import read_changes
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import build_index
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.columns import numeric_columns

N, DIM = 12, 2
IDS = [f"i{n:02}" for n in range(N)]
SPEC = FeatureSpec(
    dim=DIM,
    max_history=2,
    event_types=("like",),
    categories=(),
    max_categories=1,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=4,
    numeric=(*NUMERIC, "is_new", "stock"),
)
POLICY = Policy(slate=3, category_cap=0, near_duplicate_cosine=2.0, probes=0, candidates=4)
DECLARED = FittedFeatures(
    items=(
        FittedFeature(name="brand", feature=Feature(kind="category"), names=("Acme",)),
        FittedFeature(name="is_new", feature=Feature(kind="flag", ranker=True)),
        FittedFeature(name="stock", feature=Feature(kind="number", ranker=True)),
    )
)
NUMBERS = st.one_of(
    st.just(float("nan")), st.floats(0, 2.0**49, width=32), st.sampled_from([0.0, 1e-45])
)


def items_of(stock, is_new) -> Items:
    unknown = np.full(N, -1, np.float32)
    return Items(
        ids=IDS,
        titles=IDS,
        categories=[()] * N,
        price=unknown,
        year=unknown,
        features={
            "brand": np.array(["Acme"] * N, object),
            "is_new": np.array(is_new, np.float32),
            "stock": np.array(stock, np.float32),
        },
    )


def released(items: Items, folder, version: int = 2) -> Bundle:
    vectors = np.random.default_rng(1).normal(size=(N, DIM)).astype(np.float32)
    popularity, available = np.zeros((N, 1), np.float32), np.ones(N, np.bool_)
    with BundleWriter(folder, force=True, format_version=version) as writer:
        index = build_index(vectors, items.ids, 2, seed=1)
        add_items(writer, SPEC, items, index, popularity, available, None)
        writer.add("feature_spec.json", canonical_json(SPEC.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        return Bundle(writer.finish(name="t", recipe_name="t", created_utc=1), folder / "files")


@given(stock=st.lists(NUMBERS, min_size=N, max_size=N), version=st.sampled_from([1, 2]))
@settings(max_examples=30, deadline=None)
def test_a_device_reads_the_numbers_that_training_reads(tmp_path_factory, stock, version):
    items = items_of(stock, [1.0, 0.0, float("nan")] * (N // 3))
    bundle = released(items, tmp_path_factory.mktemp("release"), version)
    offline = numeric_columns(SPEC, items, np.zeros((N, 1), np.float32))
    rows = [bundle.row_of(item_id) for item_id in IDS]
    assert np.array_equal(np.asarray(bundle.numeric[rows]), offline)
    again = known_items(bundle).items
    order = [again.ids.index(item_id) for item_id in IDS]
    for name in ("is_new", "stock"):
        found = again.features[name][order]
        assert np.array_equal(found, items.features[name], equal_nan=True)


@pytest.fixture
def changed(tmp_path):
    def apply(changes: dict, trained=frozenset(IDS)):
        path = tmp_path / "changes.json"
        path.write_text(json.dumps(changes))
        table = known_items(released(items_of(range(N), [0.0] * N), tmp_path / "release"))
        asked: list[Items] = []

        def vectors_for(items: Items):
            asked.append(items)
            return np.ones((len(items), DIM), np.float32)

        cells = np.zeros((2, DIM), np.float32)
        found = apply_changes(table, read_changes(path), cells, trained, vectors_for, DECLARED)
        return table, found, asked

    return apply


def test_a_new_stock_changes_the_column_and_not_the_vector(changed):
    change = [{"item_id": "i03", "features": {"stock": 70}}]
    change += [{"item_id": "i03", "features": {"is_new": True}}]
    before, after, asked = changed({"change": change})
    row = after.items.ids.index("i03")
    assert after.items.features["stock"][row] == 70 and after.items.features["is_new"][row] == 1
    others = np.delete(np.arange(N), row)
    for name in ("stock", "is_new"):
        old, new = before.items.features[name], after.items.features[name]
        assert np.array_equal(old[others], new[others])
    assert np.array_equal(before.rows, after.rows) and not asked


def test_a_new_item_s_vector_sees_all_features_and_its_row_those_of_the_release(changed):
    added = {"item_id": "n1", "features": {"brand": "Acme", "stock": 5}}
    _, after, (asked,) = changed({"add": [added]})
    assert asked.ids == ["n1"] and asked.features["brand"].tolist() == ["Acme"]
    assert after.items.features["stock"][-1] == 5 and np.isnan(after.items.features["is_new"][-1])
    assert sorted(after.items.features) == ["is_new", "stock"]
    fewer = replace(after.items, ids=after.items.ids).pick([N])
    assert fewer.features["stock"].tolist() == [5]


def test_a_joined_item_gets_a_vector_from_all_its_features(changed):
    trained = frozenset(IDS) - {"i05"}
    features = {"brand": "Acme", "is_new": None, "stock": 8}
    change = {"item_id": "i05", "features": features}
    _, after, (asked,) = changed({"change": [change]}, trained)
    assert asked.ids == ["i05"] and asked.features["brand"].tolist() == ["Acme"]
    row = after.items.ids.index("i05")
    assert after.items.features["stock"][row] == 8 and np.isnan(after.items.features["is_new"][row])
    for short in ({"stock": 8}, {}):
        with pytest.raises(InputError, match="'i05' joined after training"):
            changed({"change": [{"item_id": "i05", "title": "T", "features": short}]}, trained)
