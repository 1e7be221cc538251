"""`add_items` in both format versions: what a device reads is the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the train extra")

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.audience import Audience
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import build_index
from pocketrec_training.data.dataset import Items

POLICY = Policy(slate=3, category_cap=0, near_duplicate_cosine=2.0, probes=0, candidates=4)
SPEC = FeatureSpec(
    dim=4,
    max_history=3,
    event_types=("like",),
    categories=("drama", "war"),
    max_categories=2,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=4,
)
N = 400


def release(
    out: Path,
    *,
    prices: list[float],
    audience: Audience | None = None,
    base: Bundle | None = None,
    **options,
) -> Bundle:
    """A release of N items, without models."""
    rng = np.random.default_rng(2)
    items = Items(
        ids=[f"id-{i * 7 % N:03}" for i in range(N)],  # in no order
        titles=[f"T {i}" for i in range(N)],
        categories=[("war",), ("drama", "war"), ()] * (N // 3) + [()] * (N % 3),
        price=np.array(prices, np.float32),
        year=np.full(N, -1, np.float32),
        audience=audience,
    )
    index = build_index(rng.normal(size=(N, 4)).astype(np.float32), items.ids, 5, seed=1)
    popularity, available = rng.random((N, 1)).astype(np.float32), rng.random(N) < 0.9
    with BundleWriter(out, **options) as writer:
        add_items(writer, SPEC, items, index, popularity, available, None, base)
        writer.add("feature_spec.json", canonical_json(SPEC.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        writer.finish(name="r", recipe_name="r", created_utc=0)
    return open_bundle(out)


def test_both_versions_hold_the_same_items(tmp_path):
    prices = [i % 9 + 0.25 for i in range(N)]
    new = release(tmp_path / "new", prices=prices)
    old = release(tmp_path / "old", prices=prices, format_version=1)
    assert (new.manifest.format_version, old.manifest.format_version) == (2, 1)
    assert new.item_ids() == old.item_ids()
    assert [new.row_of(one) for one in new.item_ids()] == list(range(N))
    for name in ("scales", "categories", "numeric", "available"):
        assert np.array_equal(getattr(new, name)[:], getattr(old, name)[:])
    for name in ("index/rows", "index/offsets", "items/popular"):
        assert np.array_equal(new.array(name), old.array(name))
    assert old.cohorts is None
    assert new.cohorts is not None
    assert new.cohorts.codes.tolist() == [2, 1]  # war has twice as many items
    popular = np.asarray(new.array("items/popular"))
    for code in (1, 2):
        has = (new.categories[popular] == code).any(axis=1)
        assert new.cohorts.items(code).tolist() == popular[has][:50].tolist()
    row = new.row_of("id-007")  # the second item
    (shown,) = new.catalogue([row])
    assert (shown.title, shown.price) == ("T 1", 1.25)
    assert new.numeric[row].tolist()[1:] == [-1, 1.25]
    assert new.categories[row].tolist() == [1, 2]


def test_regions_and_age_ratings_reach_the_device_and_version_1_says_it_cannot(tmp_path):
    prices = [1.0] * N
    audience = Audience(
        regions=[("DE", "AT")[: i % 3] for i in range(N)],
        age_ratings=np.array([(0, 12, 255)[i % 3] for i in range(N)], np.uint8),
    )
    plain = release(tmp_path / "plain", prices=prices)
    bundle = release(tmp_path / "b", prices=prices, audience=audience)
    row = [bundle.row_of(f"id-{i * 7 % N:03}") for i in range(N)]
    found = bundle.audience.of_items(N).pick(np.array(row))
    assert [sorted(one) for one in found.regions] == [sorted(one) for one in audience.regions]
    assert np.array_equal(found.age_ratings, audience.age_ratings)
    new = {file.name: file for file in bundle.manifest.files}
    old = {file.name: file for file in plain.manifest.files}
    assert {*new} - {*old} == {
        "regions.json",
        "items/regions.values",  # a byte an item, as codes would be
        "items/age_rating.values",
    }
    assert all(new[name] == file for name, file in old.items())  # the models' inputs too
    with pytest.raises(InputError, match="version 1 cannot hold"):
        release(tmp_path / "old", prices=prices, audience=audience, format_version=1)


def test_a_release_that_follows_another_goes_on_from_its_tables(tmp_path):
    prices = [i % 9 + 0.25 for i in range(N)]
    first = release(tmp_path / "first", prices=prices)
    dearer = [*prices[:-1], 0.1]  # the lowest of all: with a new order, all codes would change
    alone = release(tmp_path / "alone", prices=dearer)
    after = release(tmp_path / "after", prices=dearer, base=first)
    codes = "items/numeric.2.codes"
    assert (alone.array(codes) != first.array(codes)).mean() > 0.9
    assert (after.array(codes) != first.array(codes)).sum() == 1
    assert np.array_equal(after.numeric[:], alone.numeric[:])


def test_the_recipe_chooses_the_version_and_a_catalogue_release_keeps_it(run_dir, tmp_path):
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from pocketrec_export.build import export_bundle
    from pocketrec_export.items.catalogue import update_catalogue

    older = Path(shutil.copytree(run_dir, tmp_path / "run"))
    recipe = json.loads((older / "recipe.json").read_bytes())
    recipe["export"] |= {"format_version": 1, "variants": ["fp32"]}
    (older / "recipe.json").write_text(json.dumps(recipe))
    export_bundle(run=older, out=tmp_path / "base")
    assert open_bundle(tmp_path / "base").manifest.format_version == 1
    (tmp_path / "changes.json").write_text('{"add": [{"item_id": "i99", "title": "new"}]}')
    update_catalogue(tmp_path / "base", tmp_path / "changes.json", run_dir, tmp_path / "next")
    found = open_bundle(tmp_path / "next")
    assert found.manifest.format_version == 1
    assert found.item_id(found.row_of("i99")) == "i99"
