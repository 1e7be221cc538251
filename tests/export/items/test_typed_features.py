"""Declared features of format 3: training, release and catalogue updates have equal values."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_export.items.apply_changes import apply_changes
from pocketrec_export.items.catalogue import known_items
from pocketrec_export.items.changes import read_changes
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import build_index
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import encoded
from pocketrec_training.data.features.released import encoded_items, item_features

N, DIM, LENGTH = 14, 2, 3
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
)
POLICY = Policy(slate=3, category_cap=0, near_duplicate_cosine=2.0, probes=0, candidates=4)
NO_MODELS = Fault(FaultCode.RELEASE_STOPPED, "no models here")
NUMBERS = st.one_of(
    st.just(float("nan")), st.floats(-(2.0**49), 2.0**49, width=32), st.sampled_from([-1.0, -0.0])
)
WORDS = st.sampled_from(["", "a", "b", "zed", "bölt", "x" * 40])


@st.composite
def features(draw):
    """A declared feature and the values that the tables have of N items."""
    kind = draw(st.sampled_from(["category", "categories", "number", "flag", "vector"]))
    options = {"kind": kind, "ranker": True}
    if kind in ("category", "categories"):
        names = tuple(draw(st.lists(WORDS.filter(bool), unique=True)))
        options["hash_buckets"] = draw(st.integers(0 if names else 1, 5))
        if kind == "categories":
            options["most"] = draw(st.integers(1, 4))
            rows = st.lists(WORDS.filter(bool), max_size=4).map("|".join)
        else:
            rows = WORDS
        values = np.array(draw(st.lists(rows, min_size=N, max_size=N)), object)
        return Feature(**options), names, values
    if kind == "vector":
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        values = rng.normal(size=(N, LENGTH)).astype(np.float32)
        values[rng.random(N) < 0.3] = np.nan
        return Feature(length=LENGTH, **options), (), values
    one = NUMBERS if kind == "number" else st.sampled_from([0.0, 1.0, float("nan")])
    values = np.array(draw(st.lists(one, min_size=N, max_size=N)), np.float32)
    return Feature(**options), (), values


def items_of(values) -> Items:
    unknown = np.full(N, -1, np.float32)
    return Items(
        ids=IDS,
        titles=IDS,
        categories=[()] * N,
        price=unknown,
        year=unknown,
        features=values,
    )


def released(declared: FittedFeatures, items: Items, folder) -> Bundle:
    vectors = np.random.default_rng(1).normal(size=(N, DIM)).astype(np.float32)
    popularity, available = np.zeros((N, 1), np.float32), np.ones(N, np.bool_)
    with BundleWriter(folder, force=True, format_version=3) as writer:
        add_items(
            writer,
            SPEC,
            items,
            build_index(vectors, items.ids, 2, seed=1),
            popularity,
            available,
            None,
            typed=declared,
            encoded=encoded_items(declared, items),
        )
        writer.add("feature_spec.json", canonical_json(SPEC.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        return Bundle(writer.finish(name="t", recipe_name="t", created_utc=1), folder / "files")


@given(found=st.lists(features(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_device_s_inputs_are_those_of_training(tmp_path_factory, found):
    named = [(f"f{place}", *each) for place, each in enumerate(found)]
    declared = FittedFeatures(
        items=tuple(
            FittedFeature(name=name, feature=feature, names=names)
            for name, feature, names, _ in named
        )
    )
    items = items_of({name: values for name, _, _, values in named})
    bundle = released(declared, items, tmp_path_factory.mktemp("release"))
    offline = item_features(declared, SPEC, items)
    assert offline is not None
    device = Recommender(bundle, stopped=NO_MODELS)
    rows = np.array([bundle.row_of(item_id) for item_id in IDS])
    at = np.array([3, 0, 11, 3])
    expected, read = offline.inputs(at), device.items.of_rows(rows[at])
    assert expected.keys() == read.keys() - {"item_categories", "item_numeric"}
    for name, values in expected.items():
        assert values.dtype == read[name].dtype
        assert values.tobytes() == read[name].tobytes()
    table = known_items(bundle)
    order = [table.items.ids.index(item_id) for item_id in IDS]
    for fitted in declared.items:
        again = table.typed[fitted.name].pick(np.array(order))
        wanted = encoded(fitted, items.features[fitted.name])
        assert again.values.tobytes() == wanted.values.tobytes()


DECLARED = FittedFeatures(
    items=(
        FittedFeature(
            name="brand",
            feature=Feature(kind="category", hash_buckets=2, ranker=True),
            names=("Acme", "Bolt"),
        ),
        FittedFeature(name="image", feature=Feature(kind="vector", length=LENGTH, ranker=True)),
        FittedFeature(name="margin", feature=Feature(kind="number", ranker=True)),
        FittedFeature(name="size", feature=Feature(kind="category"), names=("L",)),
    )
)


@pytest.fixture
def changed(tmp_path):
    def apply(changes: dict, trained=frozenset(IDS)):
        path = tmp_path / "changes.json"
        path.write_text(json.dumps(changes))
        vectors = np.ones((N, LENGTH), np.float32)
        items = items_of(
            {
                "brand": np.array(["Acme"] * N, object),
                "image": vectors,
                "margin": np.arange(N, dtype=np.float32) - 5,
                "size": np.array(["L"] * N, object),
            }
        )
        read = FittedFeatures(items=DECLARED.items[:3])
        table = known_items(released(read, items, tmp_path / "release"))
        return table, apply_changes(
            table,
            read_changes(path),
            np.zeros((2, DIM), np.float32),
            trained,
            lambda some: np.ones((len(some), DIM), np.float32),
            DECLARED,
        )

    return apply


def test_a_change_of_one_feature_leaves_all_others(changed):
    before, after = changed({"change": [{"item_id": "i03", "features": {"margin": -70.5}}]})
    row = after.items.ids.index("i03")
    assert after.typed["margin"].values[row] == -70.5
    others = np.delete(np.arange(N), row)
    assert np.array_equal(
        after.typed["margin"].values[others], before.typed["margin"].values[others]
    )
    for name in ("brand", "image"):
        assert np.array_equal(after.typed[name].values, before.typed[name].values)


def test_a_new_item_brings_its_codes_numbers_and_vector(changed):
    features = {"brand": "Zed", "margin": -3, "image": [0, 3, 4], "size": "L"}
    _, after = changed({"add": [{"item_id": "n1", "features": features}, {"item_id": "n2"}]})
    assert sorted(after.typed) == ["brand", "image", "margin"]
    assert after.typed["brand"].values[-2:].tolist() == [[DECLARED.items[0].code("Zed")], [0]]
    assert after.typed["margin"].values[-2] == -3 and np.isnan(after.typed["margin"].values[-1])
    image = after.typed["image"]
    assert image.values[-2] * image.scales[-2] == pytest.approx([0, 0.6, 0.8], abs=0.01)
    assert not image.values[-1].any()
    fewer = after.kept(np.arange(N + 2) >= N)
    assert fewer.typed["brand"].values.tolist() == after.typed["brand"].values[-2:].tolist()


def test_a_vector_of_another_length_is_refused(changed):
    with pytest.raises(InputError, match="image: expected a list of 3 finite numbers"):
        changed({"add": [{"item_id": "n1", "features": {"image": [1, 2]}}]})
