"""A bundle as a method of `evaluate`: what a phone would show, on the data of its run."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_export.gates.shipped import ShippedBundle
from pocketrec_training.data.dataset import TEST, load_dataset
from pocketrec_training.metrics.cases import held_out_cases
from pocketrec_training.recipe.load import load_recipe


@pytest.fixture(scope="module")
def data(run_dir):
    return load_dataset(load_recipe(run_dir / "recipe.json"), run_dir)


def test_slates_are_those_of_the_phone_in_rows_of_the_data(bundle_dir: Path, data):
    cases = held_out_cases(data, TEST, "new_to_user")
    shipped = ShippedBundle(bundle_dir)
    shipped.check(data)
    found = shipped.answer(data, cases, 10)
    device = Recommender(open_bundle(bundle_dir))
    for at, (user, end) in enumerate(cases.pairs):
        past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
        rows = np.array([device.bundle.row_of(data.items.ids[row]) for row in past.rows], np.int32)
        slate = device.recommend(Query(History(rows, past.events, past.ts), now, 10))
        shown = [item.item_id for item in slate.items]
        assert [data.items.ids[row] for row in found.top[at] if row >= 0] == shown
        (target,) = (data.items.ids[row] for row in cases.targets_of(at))
        assert found.ranks[at] == (shown.index(target) if target in shown else len(data.items))
    assert shipped.facts()["slates_by_source"] == {"model": len(cases)}


def test_users_without_history_are_answered_too(bundle_dir: Path, data):
    cases = held_out_cases(data, TEST, "all")
    fresh = dataclasses.replace(cases, ends=np.zeros_like(cases.ends))
    shipped = ShippedBundle(bundle_dir)
    assert (shipped.answer(data, fresh, 5).top >= 0).all()
    assert sum(shipped.facts()["slates_by_source"].values()) == len(fresh)


def test_a_bundle_of_other_items_is_refused(bundle_dir: Path, data):
    fewer = dataclasses.replace(data, items=data.items.pick(range(39)))
    with pytest.raises(InputError, match=r"40 items, the data have 39; 'i39' is only in the bun"):
        ShippedBundle(bundle_dir).check(fewer)


def test_a_final_fit_is_said_to_have_seen_the_events(bundle_dir: Path, tmp_path: Path):
    final = tmp_path / "final"
    shutil.copytree(bundle_dir, final)
    path = final / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for entry in manifest["files"]:
        if entry["kind"] == "model":
            entry["meta"]["fit"] = "final"
    path.write_text(json.dumps(manifest))
    (note,) = ShippedBundle(final).facts()["notes"]
    assert "saw the held-out events" in note
    for entry in manifest["files"]:
        if entry["kind"] == "model":
            entry["meta"]["fit"] = "evaluation"
    path.write_text(json.dumps(manifest))
    assert ShippedBundle(final).facts()["notes"] == []


def test_the_report_has_the_bundle_beside_both_stages(run_dir, bundle_dir, tmp_path, runner):
    from pocketrec.cli import main

    words = ["evaluate", run_dir, "--data", run_dir, "--out", tmp_path, "--bundle", bundle_dir]
    words += ["--methods", "popularity,transitions", "--json"]
    done = runner.invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    gain, table = found["shipped_gain"], found["retrieval"]
    assert gain["a"] == pytest.approx(table["two_stage"]["ndcg@10"]["value"])
    assert gain["b"] == pytest.approx(table["shipped_bundle"]["ndcg@10"]["value"])
    assert "The bundle on a phone" in (tmp_path / "evaluation.html").read_text()
    curves = found["recall_curves"]["new_to_user"]
    assert len(curves["methods"]["shipped_bundle"]) < len(curves["k"])
