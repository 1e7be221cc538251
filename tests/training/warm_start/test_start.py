"""A release trained from the previous one: it starts there, stays near, and scores as trained."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from pocketrec_training.data.dataset import VALID, load_dataset
from pocketrec_training.data.ingest import append_tables, build_tables
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.monitoring.experiment_log import experiment_logs
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.item_tower import build_item_tower
from pocketrec_training.towers.user_tower import build_user_tower
from pocketrec_training.towers.user_vectors import user_vectors
from pocketrec_training.train import train
from pocketrec_training.trained import load_trained
from pocketrec_training.warm_start.start import check_fits, copy_weights

RECIPE = """
name = "tiny"
[data]
interactions = "i.csv"
items = "p.csv"
[columns]
user = "user"
item = "item"
timestamp = "time"
timestamp_unit = "s"
item_id = "item"
title = "title"
categories = "genre"
[retrieval]
quantize_from = 1.0
dim = 8
blocks = 1
heads = 1
max_history = 6
title_buckets = 8
epochs = 1
batch = 16
[ranker]
candidates = 10
epochs = 1
deep = [4]
cross_layers = 1
cross_rank = 2
[rerank]
slate = 5
"""


def deliver(folder, first, last, users):
    """Items first..last; each user walks up them."""
    folder.mkdir()
    lines = [
        f"u{u},i{first + (u + n) % (last - first)},{u * 1000 + first + n}"
        for u in users
        for n in range(8)
    ]
    (folder / "i.csv").write_text("\n".join(["user,item,time", *lines]))
    rows = [f"i{n},Film {n},g{n % (2 + first % 2)}" for n in range(first, last)]
    (folder / "p.csv").write_text("\n".join(["item,title,genre", *rows]))
    return folder


@pytest.fixture(scope="module")
def releases(tmp_path_factory, uncompiled, two_folds):
    """Run "one", then run "two" from it on a day more of data, with new items and a new genre."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "r.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "r.toml")
    build_tables(recipe, folder / "data", deliver(folder / "0", 0, 20, range(40)))
    with uncompiled(), two_folds():
        train(recipe=recipe, data=folder / "data", out=folder / "one", final=False)
    append_tables(recipe, folder / "data", deliver(folder / "1", 15, 26, range(30, 60)))
    with uncompiled(), two_folds(), experiment_logs(recipe, folder / "logs") as logs:
        report = train(
            recipe=recipe,
            data=folder / "data",
            out=folder / "two",
            warm_start=folder / "one",
            final=False,
            logs=logs,
        )
    return folder, report


def test_release_stays_in_the_space_of_the_one_before(releases):
    folder, report = releases
    one, two = load_trained(folder / "one"), load_trained(folder / "two")
    found = report.alignment
    assert (found.known_items, found.new_items) == (20, 6)
    assert found.movement_after <= found.movement_before
    assert found.max_score_change < 1e-3
    saved = json.loads((folder / "two" / "train_report.json").read_text())["alignment"]
    assert saved["movement_after"] == found.movement_after
    row_of = {item_id: row for row, item_id in enumerate(two.items.ids)}
    rows = [row_of[item_id] for item_id in one.items.ids]
    moved = np.linalg.norm(two.item_vectors[rows] - one.item_vectors, axis=1).mean()
    lengths = np.linalg.norm(one.item_vectors, axis=1).mean()
    assert moved / lengths == pytest.approx(found.movement_after, rel=1e-4)


def test_saved_towers_agree_with_the_saved_vectors(releases):
    """The saved run is whole: its item tower gives its item vectors, its user tower reads them."""
    folder, _ = releases
    two = load_trained(folder / "two")
    data = load_dataset(two.recipe, folder / "data")
    inputs = item_inputs(two.spec, two.items, two.recipe.retrieval.title_buckets)
    assert np.allclose(two.item_tower(inputs), two.item_vectors, atol=1e-5)
    cases = data.held_out(VALID)[:5]
    users = user_vectors(two.user_tower, two.item_vectors, two.spec, data, cases)
    rotation = two.user_tower.get_layer("rotation_out").get_weights()[0]
    assert np.allclose(rotation @ rotation.T, np.eye(8), atol=1e-5)
    straight = keras.Model(
        two.user_tower.inputs,
        two.user_tower.get_layer("user_vector")(
            two.user_tower.get_layer("tower")(*two.user_tower.inputs[:3]), two.user_tower.inputs[3]
        ),
    )
    raw = two.item_vectors @ rotation.T
    as_trained = user_vectors(straight, raw, two.spec, data, cases)
    assert np.allclose(users @ two.item_vectors.T, as_trained @ raw.T, atol=1e-4)


def test_weights_go_by_name_and_new_ones_start_afresh(releases):
    folder, _ = releases
    one, two = load_trained(folder / "one"), load_trained(folder / "two")
    config = two.recipe.retrieval
    user_tower = build_user_tower(config, two.spec)
    item_tower = build_item_tower(config, two.spec, len(two.items))
    new, old = item_tower.get_layer("tower"), one.item_tower.get_layer("tower")
    fresh = new.id_table.embeddings.numpy()
    copy_weights(one, two.spec, two.items)(user_tower, item_tower)
    after, before = new.id_table.embeddings.numpy(), old.id_table.embeddings.numpy()
    known = {item_id: row for row, item_id in enumerate(one.items.ids, 1)}
    for row, item_id in enumerate(two.items.ids, 1):
        wanted = before[known[item_id]] if item_id in known else fresh[row]
        assert np.array_equal(after[row], wanted)
    assert two.spec.categories == ("g0", "g1", "g2")
    assert one.spec.categories == ("g0", "g1")
    assert np.array_equal(
        new.category_table.embeddings.numpy()[1:3],
        old.category_table.embeddings.numpy()[1:3],
    )
    for source, target in zip(
        one.user_tower.get_layer("tower").trainable_variables,
        user_tower.get_layer("tower").trainable_variables,
        strict=True,
    ):
        assert np.array_equal(source.numpy(), target.numpy())


def test_curves_were_logged_while_it_trained(releases):
    folder, _ = releases
    (path,) = (folder / "logs").glob("events.out.tfevents.*")
    text = path.read_bytes()
    assert b"retrieval/ndcg10" in text
    assert b"ranker/loss" in text


def test_run_of_another_width_is_refused(releases):
    folder, _ = releases
    one = load_trained(folder / "one")
    with pytest.raises(RunInvalidError, match=r"retrieval\.dim = 8, the recipe 16"):
        check_fits(one, dataclasses.replace(one.spec, dim=16), one.items)
    strange = dataclasses.replace(one.items, ids=[f"x{i}" for i in range(20)])
    with pytest.raises(RunInvalidError, match="knows none"):
        check_fits(one, one.spec, strange)
