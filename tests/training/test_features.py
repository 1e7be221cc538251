"""A recipe with declared features, from files to a trained run."""

import json
from array import array
from dataclasses import replace

import numpy as np
import pytest

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.releases.verify import verify
from pocketrec_export.build import export_bundle
from pocketrec_export.draft import release_version
from pocketrec_export.items.catalogue import update_catalogue
from pocketrec_export.items.new_features import new_features
from pocketrec_training.cold_start.score_calibration import lifted_vectors
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RunInvalidError, TableInvalidError
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.tables import Features
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained

N_ITEMS = 30
RECIPE = parse_recipe(
    {
        "name": "shop",
        "data": {"interactions": "log.csv", "items": "items.csv"},
        "features": {
            "items": {
                "about": {"kind": "text", "hash_buckets": 16},
                "brand": {"column": "Brand", "kind": "category", "hash_buckets": 2},
                "stock": {"kind": "number", "log": True, "buckets": 4, "ranker": True},
                "is_new": {"kind": "flag", "missing": 0},
                "image": {"kind": "vector", "length": 3, "ranker": True},
                "margin": {"kind": "number", "buckets": 4, "ranker": True},
                "maker": {"column": "Brand", "kind": "category", "embedding": 3, "ranker": True},
            }
        },
        "retrieval": {"dim": 8, "blocks": 1, "max_history": 6, "epochs": 2, "batch": 16},
        "ranker": {"epochs": 1, "candidates": 20, "negatives": 5, "deep": [4]},
        "export": {"variants": ["fp32", "dynamic"], "golden_cases": 4, "gate_cases": 20},
    },
    "shop.toml",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("shop")
    events = (
        f"u{user},i{(3 * user + 2 * n) % N_ITEMS},{1_700_000_000 + 1000 * n + user}\n"
        for user in range(30)
        for n in range(8)
    )
    (base / "log.csv").write_text("user_id,item_id,timestamp\n" + "".join(events))
    items = (
        f'i{n},{"ABC"[n % 3]},{3 * n},{n % 2},"[{n % 5}, {n % 7}, 1]",word {n % 4},{n / 2 - 7}\n'
        for n in range(N_ITEMS)
    )
    names = "item_id,Brand,stock,is_new,image,about,margin\n"
    (base / "items.csv").write_text(names + "".join(items))
    build_tables(RECIPE, base / "tables", base)
    return base


@pytest.fixture(scope="module")
def run(folder):
    train(recipe=RECIPE, data=folder / "tables", out=folder / "run")
    return folder / "run"


def test_every_fit_of_a_run_has_its_features(run):
    for fit in ("evaluation", "final"):
        declared = load_trained(run, fit=fit).declared
        names = ["about", "brand", "image", "is_new", "maker", "margin", "stock"]
        assert [one.name for one in declared.items] == names
        assert declared.items[1].names == ("A", "B", "C")
        assert len(declared.items[6].edges) == 5


def test_features_are_learned_and_move_the_vector_of_a_new_item(run):
    trained = load_trained(run, fit="final")
    tower = trained.item_tower.get_layer("tower")
    words, brands = tower.feature_about.embeddings, tower.feature_brand.embeddings
    for part in (words, brands, tower.feature_image.kernel):
        assert np.abs(part.numpy()).max() > 1e-4
    some = trained.items.pick([0, 1])
    plain = trained.item_vectors_for(some)
    for name in ("about", "brand"):
        changed = {**some.features, name: some.features[name][::-1]}
        moved = trained.item_vectors_for(replace(some, features=changed))
        assert np.abs(plain - moved).max() > 1e-4


def test_a_catalogue_update_computes_what_training_computes(folder, run):
    trained = load_trained(run, fit="final")
    data = load_dataset(RECIPE, folder / "tables")
    known = trained.items.pick([trained.items.ids.index(name) for name in ("i3", "i4")])
    values = [
        {"about": f"word {n % 4}", "brand": "ABC"[n % 3], "stock": 3 * n, "is_new": n % 2 == 1}
        | {"image": array("d", [n % 5, n % 7, 1]), "margin": n / 2 - 7, "maker": "ABC"[n % 3]}
        for n in (3, 4)
    ]
    pairs = zip(["new-3", "new-4"], values, strict=True)
    new = replace(known, features=new_features(trained.declared, pairs, "changes.json"))
    for name, column in known.features.items():
        assert np.array_equal(new.features[name], column), name
    made = lifted_vectors(trained, data, new)
    assert np.array_equal(made, lifted_vectors(trained, data, known))
    for name in ("about", "brand", "image"):
        other = {**new.features, name: new.features[name][::-1]}
        moved = lifted_vectors(trained, data, replace(new, features=other))
        assert np.abs(made - moved).max() > 1e-4, name


def test_the_release_has_the_columns_of_the_ranker_only(run):
    spec = load_trained(run).spec
    assert spec.numeric == ("popularity", "year", "price", "stock")
    assert [one.name for one in load_trained(run).typed.items] == ["image", "maker", "margin"]


def test_the_ranker_reads_the_features_that_are_no_numeric_columns(run):
    for fit in ("evaluation", "final"):
        ranker = load_trained(run, fit=fit).ranker
        shapes = {tensor.name: tensor.shape[1] for tensor in ranker.inputs}
        assert shapes["item_codes"] == 1
        assert (shapes["item_numbers"], shapes["item_embeddings"]) == (2, 3)
        (table,) = ranker.get_layer("declared").tables
        assert table.shape == (4, 3)


def test_a_damaged_file_of_features_is_refused(run, tmp_path):
    path = run / "features.json"
    good = path.read_bytes()
    try:
        path.write_bytes(good.replace(b'"category"', b'"sound"'))
        with pytest.raises(RunInvalidError, match=r"damaged \(features\.json"):
            load_trained(run)
    finally:
        path.write_bytes(good)


def test_a_feature_that_the_tables_lack_stops_training_before_it_begins(folder, tmp_path):
    more = RECIPE.features.items | {"size": RECIPE.features.items["stock"]}
    recipe = replace(RECIPE, features=Features(items=more))
    with pytest.raises(TableInvalidError, match="no feature 'size'"):
        train(recipe=recipe, data=folder / "tables", out=tmp_path / "run")


def test_a_release_of_the_run_and_its_next_catalogue_are_of_format_3_and_prove_themselves(
    run, tmp_path
):
    report = export_bundle(run=run, out=tmp_path / "release", force=True)
    first = open_bundle(tmp_path / "release")
    assert first.manifest.format_version == 3
    assert [one.name for one in first.features.items] == ["image", "maker", "margin"]
    assert verify(first).passed and report.golden_cases > 0
    features = {"brand": "B", "maker": "B", "margin": -3.25, "image": [1, 0, 0], "stock": 2}
    added = {"item_id": "new", "features": features | {"about": None, "is_new": True}}
    changed = {"item_id": "i3", "features": {"margin": 99}}
    changes = tmp_path / "changes.json"
    changes.write_text(json.dumps({"add": [added], "change": [changed]}))
    update_catalogue(tmp_path / "release", changes, run, tmp_path / "next", force=True)
    second = open_bundle(tmp_path / "next")
    assert second.manifest.format_version == 3 and verify(second).passed
    assert first.item_features is not None and second.item_features is not None
    rows = np.array([second.row_of(name) for name in ("new", "i3", "i4")])
    found = second.item_features.inputs(rows)
    assert found["item_numbers"].tolist() == [[-3.25, 1], [99, 1], [-5, 1]]
    assert found["item_codes"].tolist() == [[2], [1], [2]]  # of A, B, C
    before = first.item_features.inputs(np.array([first.row_of("i4")]))
    assert all(values[2].tolist() == before[name][0].tolist() for name, values in found.items())
    assert np.abs(found["item_embeddings"][0] - [1, 0, 0]).max() < 0.01


def test_format_1_cannot_hold_the_features_of_the_run(run, tmp_path):
    trained = load_trained(run)
    export = replace(trained.recipe.export, format_version=1)
    older = replace(trained, recipe=replace(trained.recipe, export=export))
    with pytest.raises(InputError, match=r"image, maker, margin, which need bundle format 3"):
        release_version(older)
    plain = replace(older, declared=FittedFeatures())
    assert release_version(plain) == 1
