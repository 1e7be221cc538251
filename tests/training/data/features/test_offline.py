"""The offline store of real ratings equals what a device's event log gives, to the last bit."""

import json

import duckdb
import numpy as np
import pytest

import pocketrec_bundle.ranker_features as device
from pocketrec.cli import main
from pocketrec_bundle.features import CONTEXT
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.features.columns import (
    category_codes,
    feature_spec,
    numeric_columns,
    release_popularity,
)
from pocketrec_training.data.features.offline import write_features
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import DatasetUnavailableError
from pocketrec_training.recipe.load import load_recipe


def fetch(folder, name):
    found = duckdb.sql("SELECT * FROM read_parquet(?)", params=[str(folder / name)])
    assert found is not None
    return found.fetchall()


@pytest.fixture(scope="module")
def movielens(repository, tmp_path_factory):
    """(recipe, folder) with the tables of MovieLens-100K and their offline features."""
    folder = tmp_path_factory.mktemp("ml100k")
    recipe = load_recipe(repository / "recipes" / "ml100k.toml")
    try:
        build_tables(recipe, folder / "data")
    except DatasetUnavailableError as err:
        pytest.skip(f"MovieLens-100K cannot be fetched here: {err}")
    write_features(recipe, folder / "data", folder / "features")
    return recipe, folder


def test_real_ratings_replayed_through_the_event_log_give_the_same_numbers(movielens, device_pasts):
    """MovieLens-100K: many ratings share a second, so ties are real here."""
    recipe, folder = movielens
    data = load_dataset(recipe, folder / "data")
    spec = feature_spec(recipe, data.items)
    assert spec.context == CONTEXT
    # As `pocketrec_export.build` packs them.
    items = device.ItemColumns(
        category_codes(spec, data.items.categories),
        numeric_columns(spec, data.items, release_popularity(spec, data)),
    )
    moments: dict[tuple[str, int], list[tuple[object, ...]]] = {}
    for row in fetch(folder / "features", "features.parquet"):
        if row[0] in ("1", "13", "196", "405"):
            moments.setdefault((row[0], row[4]), []).append(row)
    shares = {key: np.zeros(len(spec.categories) + 1, np.float32) for key in moments}
    for user, ts, code, share in fetch(folder / "features", "category_shares.parquet"):
        if (user, ts) in shares:
            shares[user, ts][code] = share
    rows = [row[:5] for now in moments.values() for row in now]
    for user, ts, history in device_pasts(spec, data.items.ids, rows):
        wanted = device.context_vector(spec, items, history, ts)[0]
        for row in moments[user, ts]:
            assert np.array_equal(np.array(row[5:], np.float32), wanted)
        wanted = device.category_shares(spec, items, history.rows).astype(np.float32)
        assert np.array_equal(shares.pop((user, ts)), wanted)
    assert not shares  # all were compared
    assert len(rows) > 1000
    assert sum(len(now) > 1 for now in moments.values()) > 100


def test_features_keep_every_interaction_in_canonical_order(movielens):
    _, folder = movielens
    tables = fetch(folder / "data", "interactions.parquet")
    found = fetch(folder / "features", "features.parquet")
    assert [row[:5] for row in found] == tables


def test_an_event_does_not_see_itself_nor_its_second(movielens):
    """A leak would show at first events: nothing is before them."""
    _, folder = movielens
    first: dict[str, int] = {}
    rows = fetch(folder / "features", "features.parquet")
    for row in rows:
        first.setdefault(row[0], row[4])
    nothing = {"n_events": 0.0, "seconds_since_first": -1.0, "distinct_share": 1.0}
    nothing |= {f"recent_{name}": -1.0 for name in ("popularity", "year", "price")}
    for name, value in nothing.items():
        place = 5 + CONTEXT.index(name)
        assert {row[place] for row in rows if first[row[0]] == row[4]} == {value}
    place = 5 + CONTEXT.index("n_events")
    assert min(row[place] for row in rows if first[row[0]] < row[4]) > 0
    shares = fetch(folder / "features", "category_shares.parquet")
    assert not [row for row in shares if first[row[0]] == row[1]]


def test_features_command_writes_both_tables_and_refuses_an_empty_folder(
    movielens, repository, runner, tmp_path
):
    _, folder = movielens
    words = ["features", str(repository / "recipes" / "ml100k.toml"), "--json"]
    words += ["--out", str(tmp_path / "out"), "--data"]
    done = runner.invoke(main, [*words, str(folder / "data")])
    assert json.loads(done.stdout)["interactions"] == 100_000
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "features.parquet",
        "category_shares.parquet",
        "features_report.json",
    }
    done = runner.invoke(main, [*words, str(tmp_path)])
    assert done.exit_code == 2
    assert "Run `pocketrec data` first" in done.stderr
