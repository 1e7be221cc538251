"""The ranker of another run in a release: its checks, gates, files, proof and card."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.golden.set_proof import check_sets, read_proof
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.model_sets import set_files, set_names
from pocketrec_edge.engines.select import ENGINES, needed_files
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.set_test import check_ranker
from pocketrec_edge.releases.verify import verify
from pocketrec_export.build import export_bundle
from pocketrec_export.items.catalogue import update_catalogue
from pocketrec_export.model_sets import check_twin, checked_rankers
from pocketrec_training.trained import load_trained


@pytest.fixture(scope="module")
def twin(run_dir: Path, tmp_path_factory) -> Path:
    """The same run with another ranker: fewer layers, another seed, other weights of heads."""
    import keras

    from pocketrec_training.ranker.model import build_ranker

    folder = tmp_path_factory.mktemp("twin") / "run"
    shutil.copytree(run_dir, folder)
    recipe = json.loads((folder / "recipe.json").read_bytes())
    recipe["ranker"] |= {"deep": [48], "head_weights": [1.0, 2.0]}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    spec = json.loads((folder / "feature_spec.json").read_bytes())
    (folder / "feature_spec.json").write_text(json.dumps(spec | {"head_weights": [1.0, 2.0]}))
    trained = load_trained(folder)
    keras.utils.set_random_seed(99)
    ranker = build_ranker(trained.recipe.ranker, trained.spec)
    kernel = ranker.get_layer(index=-3).kernel
    kernel.assign(np.random.default_rng(5).normal(0.0, 0.5, kernel.shape))
    ranker.save(folder / "ranker.keras")
    return folder


@pytest.fixture(scope="module")
def with_set(run_dir: Path, twin: Path, conversions, tmp_path_factory) -> Path:
    """A release of the run with the other ranker as set "wide"."""
    out = tmp_path_factory.mktemp("with_set") / "bundle"
    with conversions.kept():
        export_bundle(run=run_dir, out=out, rankers={"wide": twin})
    return out


def test_a_set_has_a_proved_ranker_for_each_target_and_changes_nothing_else(
    with_set, bundle_dir, run_dir
):
    bundle, own = open_bundle(with_set), open_bundle(bundle_dir)
    manifest = bundle.manifest
    assert manifest.format_version == own.manifest.format_version
    assert set_names(manifest) == ("wide",) and set_names(own.manifest) == ()
    cases = len(Golden.of(bundle).cases)
    check_sets(bundle, cases)
    shipped = set()
    for engine in ENGINES:
        first, *_ = entries = set_files(manifest, "wide", engine)
        assert first.meta["default"] == 1 and first.meta["fit"] == "evaluation"
        for entry in entries:
            shipped |= {*str(entry.meta["targets"]).split(",")}
            assert check_ranker(bundle, entry, engine) <= 1
            assert entry not in needed_files(manifest)
        assert replay(bundle, engine) == cases
    assert shipped == {"android", "ios", "web", "legacy"}
    card = ("model_card.json", "model_card.md")
    for entry in own.manifest.files:
        if entry.name not in card:
            assert manifest.entry(entry.name).sha256 == entry.sha256, entry.name


def test_the_proof_is_the_answer_of_the_other_ranker(with_set, bundle_dir, twin):
    bundle = open_bundle(with_set)
    cases = len(Golden.of(bundle).cases)
    proof = read_proof(bundle, "wide", cases)
    own = np.asarray(bundle.array("golden/probabilities"))
    assert np.abs(own - proof.probabilities).max() > 10 * proof.tolerance
    ranker = load_trained(twin).ranker
    stages = {name: bundle.array(f"golden/{name}") for name in ("candidates", "context", "pair")}
    users = bundle.array("golden/user_vector")
    for case in range(cases):
        rows = stages["candidates"][case][stages["candidates"][case] >= 0]
        n, full = len(rows), bundle.spec.candidates
        vectors = bundle.array("index/rows")[rows] * bundle.scales[rows][:, None]

        def padded(values, full=full):
            return np.concatenate([values, np.zeros((full - len(values), *values.shape[1:]))])

        found = ranker(
            {
                "user_vector": users[case][None],
                "item_vectors": padded(vectors).astype(np.float32),
                "item_categories": padded(bundle.categories[rows]).astype(np.int32),
                "item_numeric": padded(bundle.numeric[rows]).astype(np.float32),
                "context": stages["context"][case][None],
                "pair": padded(stages["pair"][case][:n]).astype(np.float32),
            }
        )
        apart = np.abs(np.asarray(found)[:n] - proof.probabilities[case, :n]).max(initial=0.0)
        assert apart <= max(proof.tolerance, 1e-3)  # the default file may be a quantized one


def test_the_card_and_verify_name_the_set(with_set):
    bundle = open_bundle(with_set)
    (one,) = bundle.json("model_card.json")["export"]["sets"]
    assert one["name"] == "wide" and {row["target"] for row in one["shipped"]} >= {"ios", "web"}
    assert {row["model"] for row in one["gates"]} == {"ranker", "both"}
    assert all("ms" not in file for file in one["files"])
    assert "head_weights = {engage = 1, like = 2}" in one["note"]
    text = bundle.read("model_card.md").decode()
    assert "## Model sets" in text and "| wide | android |" in text
    found = verify(bundle)
    assert found.passed
    assert {(row.model, row.set) for row in found.files} == {
        ("user_tower", ""),
        ("ranker", ""),
        ("ranker", "wide"),
    }
    stages = [stage.stage for slates in found.slates for stage in slates.stages]
    assert stages.count("set wide") == len(ENGINES)


def test_a_catalogue_update_keeps_the_set_and_proves_it_again(with_set, run_dir, tmp_path):
    changes = tmp_path / "changes.json"
    changes.write_text(
        json.dumps({"withdraw": ["i07"], "change": [{"item_id": "i03", "title": "New"}]})
    )
    update_catalogue(with_set, changes, run_dir, tmp_path / "next")
    before, after = open_bundle(with_set), open_bundle(tmp_path / "next")
    for engine in ENGINES:
        for entry in set_files(before.manifest, "wide", engine):
            assert after.manifest.entry(entry.name) == entry
            assert check_ranker(after, entry, engine) <= 1
    check_sets(after, len(Golden.of(after).cases))


@pytest.mark.parametrize("name", ["", "Wide", "a/b", "-a", "a" * 33, "ä"])
def test_a_name_that_no_arm_can_have_is_refused(name):
    with pytest.raises(InputError, match=r"a name has 1\.\.32 of a-z"):
        checked_rankers({name: Path("run")})


def test_too_many_sets_are_refused():
    with pytest.raises(InputError, match="at most 7"):
        checked_rankers({f"s{n}": Path("run") for n in range(8)})


def test_a_run_that_differs_in_more_than_its_ranker_is_refused_by_name(run_dir, twin):
    ours, theirs = load_trained(run_dir), load_trained(twin)
    check_twin("set", ours, theirs)
    changed: dict[str, dict[str, Any]] = {
        "items": {"items": replace(theirs.items, ids=["x", *theirs.items.ids[1:]])},
        "feature spec: recent": {"spec": replace(theirs.spec, recent=theirs.spec.recent + 1)},
        "feature spec: heads": {"spec": replace(theirs.spec, heads=("engage", "other"))},
        "item vectors": {"item_vectors": theirs.item_vectors + 1},
        "neighbours": {"neighbours": None},
    }
    for what, change in changed.items():
        with pytest.raises(InputError, match=rf"^set: differs from .* in {what}\. Train it on"):
            check_twin("set", ours, replace(theirs, **change))
    theirs.user_tower.trainable_variables[0].assign_add(
        np.ones(theirs.user_tower.trainable_variables[0].shape)
    )
    with pytest.raises(InputError, match="in user tower"):
        check_twin("set", ours, theirs)


def test_a_run_with_other_towers_writes_nothing(run_dir, twin, tmp_path):
    other = shutil.copytree(twin, tmp_path / "other")
    np.save(other / "item_vectors.npy", np.load(other / "item_vectors.npy") * 2)
    with pytest.raises(InputError, match=r"model set wide: .*item vectors"):
        export_bundle(run=run_dir, out=tmp_path / "out", rankers={"wide": other})
    assert not (tmp_path / "out").exists()
