"""The offline store equals the device: the same numbers, to the last bit, at every interaction."""

import dataclasses
import json
from types import SimpleNamespace

import duckdb
import ibis
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundle.features import SESSION_GAP_S, FeatureSpec, History, context_vector, user_categories
from edge_runtime.eventlog import Event, EventLog
from pocketrec.cli import main
from training.dataset import category_codes, feature_spec, load_items, split_categories
from training.errors import DatasetUnavailable, TableInvalid
from training.offline_features import category_shares, context_features, write_features
from training.recipe import load_recipe
from training.tables import build_tables

TYPES = ("rating", "like")
ITEMS = {"x": "a|b", "y": "", "z": "b|b|c", "w": "c|a|b|unheard"}
SPEC = FeatureSpec(
    dim=4,
    max_history=3,
    event_types=TYPES,
    categories=("a", "b", "c"),
    max_categories=3,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=5,
)


def dense(spec, found):
    shares = np.zeros(len(spec.categories) + 1, np.float32)
    for code, share in found:
        shares[code] = share
    return shares


def fetch(folder, name):
    return duckdb.sql("SELECT * FROM read_parquet(?)", params=[str(folder / name)]).fetchall()


# Times around the session gap, with ties; seconds far apart and the first one.
times = st.sampled_from([0, 1, 2, SESSION_GAP_S, SESSION_GAP_S + 1, 3602, 90_000, 2_000_000_000])
event = st.tuples(
    st.sampled_from("uv"), st.sampled_from(sorted(ITEMS)), st.sampled_from(TYPES), times
)


@given(rows=st.lists(event, min_size=1, max_size=12))
@example(rows=[("u", "x", "like", 5)])
@example(rows=[("u", "x", "like", 5), ("u", "z", "rating", 5)])
@example(rows=[("u", "x", "like", 0), ("u", "y", "like", 1800), ("u", "w", "like", 3601)])
@settings(max_examples=15, deadline=None)
def test_every_interaction_has_the_numbers_of_the_device(rows):
    names = ("user_id", "item_id", "event", "ts")
    events = ibis.memtable([dict(zip(names, row, strict=True)) for row in rows])
    items = ibis.memtable({"item_id": list(ITEMS), "categories": list(ITEMS.values())})
    connection = ibis.duckdb.connect()
    context = {
        (r["user_id"], r["ts"]): [r[name] for name in SPEC.context]
        for r in connection.to_pyarrow(context_features(SPEC, events)).to_pylist()
    }
    shares: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for r in connection.to_pyarrow(category_shares(SPEC, events, items)).to_pylist():
        shares.setdefault((r["user_id"], r["ts"]), []).append((r["code"], r["share"]))
    codes = category_codes(SPEC, [split_categories(text) for text in ITEMS.values()])
    assert set(context) == {(row[0], row[3]) for row in rows}
    for user, ts in context:
        past = sorted((r for r in rows if r[0] == user and r[3] < ts), key=lambda r: r[3])
        history = History(
            np.array([list(ITEMS).index(r[1]) for r in past], np.int32),
            np.array([TYPES.index(r[2]) for r in past], np.int32),
            np.array([r[3] for r in past], np.int64),
        )
        wanted = context_vector(SPEC, history, ts)[0]
        assert np.array_equal(np.array(context[user, ts], np.float32), wanted)
        wanted = user_categories(SPEC, history, codes)[0]
        assert np.array_equal(dense(SPEC, shares.get((user, ts), [])), wanted)


@pytest.fixture(scope="module")
def movielens(repository, tmp_path_factory):
    """Folder with the tables of MovieLens-100K and their offline features."""
    folder = tmp_path_factory.mktemp("ml100k")
    recipe = load_recipe(repository / "recipes" / "ml100k.toml")
    try:
        build_tables(recipe, folder / "data")
    except DatasetUnavailable as err:
        pytest.skip(f"MovieLens-100K cannot be fetched here: {err}")
    spec = feature_spec(recipe, load_items(folder / "data"))
    write_features(spec, folder / "data", folder / "features")
    (folder / "spec.json").write_text(json.dumps(spec.to_json()))
    return folder


def test_real_ratings_replayed_through_the_event_log_give_the_same_numbers(movielens, tmp_path):
    """MovieLens-100K: many ratings share a second, so ties are real here."""
    spec = FeatureSpec.from_json(json.loads((movielens / "spec.json").read_text()))
    items = load_items(movielens / "data")
    codes = category_codes(spec, items.categories)
    row_of = {item_id: row for row, item_id in enumerate(items.ids)}
    # All that the log asks of a release.
    release = SimpleNamespace(spec=spec, row_of=lambda item_id: row_of.get(item_id, -1))
    rows = fetch(movielens / "features", "features.parquet")
    shares: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for user, ts, code, share in fetch(movielens / "features", "category_shares.parquet"):
        shares.setdefault((user, ts), []).append((code, share))
    compared = ties = 0
    for user in ("1", "13", "196", "405"):
        log = EventLog(tmp_path / f"{user}.sqlite")
        mine = [row for row in rows if row[0] == user]
        for ts in sorted({row[4] for row in mine}):
            history, unknown = log.history(release)
            assert unknown == 0
            wanted = context_vector(spec, history, ts)[0]
            now = [row for row in mine if row[4] == ts]
            for row in now:
                assert np.array_equal(np.array(row[5:], np.float32), wanted)
            wanted = user_categories(spec, history, codes)[0]
            assert np.array_equal(dense(spec, shares.get((user, ts), [])), wanted)
            log.append_many(
                [
                    Event(
                        id=f"{n}-{row[1]}",
                        kind="interaction",
                        item_id=row[1],
                        event=row[2],
                        value=row[3],
                        ts=ts,
                        context={},
                    )
                    for n, row in enumerate(now)
                ]
            )
            compared += len(now)
            ties += len(now) > 1
        log.close()
    assert compared > 1000
    assert ties > 100


def test_features_keep_every_interaction_in_canonical_order(movielens):
    tables = fetch(movielens / "data", "interactions.parquet")
    found = fetch(movielens / "features", "features.parquet")
    assert [row[:5] for row in found] == tables


def test_an_event_does_not_see_itself_nor_its_second(movielens):
    """A leak would show at first events: nothing is before them."""
    first: dict[str, int] = {}
    rows = fetch(movielens / "features", "features.parquet")
    for row in rows:
        first.setdefault(row[0], row[4])
    place = 5 + SPEC.context.index("n_events")
    assert {row[place] for row in rows if first[row[0]] == row[4]} == {0.0}
    assert min(row[place] for row in rows if first[row[0]] < row[4]) > 0
    shares = fetch(movielens / "features", "category_shares.parquet")
    assert not [row for row in shares if first[row[0]] == row[1]]


def test_context_feature_without_offline_column_is_refused():
    spec = dataclasses.replace(SPEC, context=("hour", "moon_phase"))
    with pytest.raises(TableInvalid, match="moon_phase has no offline column"):
        context_features(spec, ibis.memtable({"user_id": ["u"]}))


def test_order_of_columns_is_the_order_of_the_spec():
    spec = dataclasses.replace(SPEC, context=("n_events", "hour"))
    rows = [{"user_id": "u", "item_id": "x", "event": "like", "ts": 7200}]
    table = ibis.duckdb.connect().to_pyarrow(context_features(spec, ibis.memtable(rows)))
    assert table.to_pylist() == [{"user_id": "u", "ts": 7200, "n_events": 0.0, "hour": 2.0}]


def test_features_command_writes_both_tables_and_refuses_an_empty_folder(
    movielens, repository, runner, tmp_path
):
    words = ["features", str(repository / "recipes" / "ml100k.toml"), "--json"]
    words += ["--out", str(tmp_path / "out"), "--data"]
    done = runner.invoke(main, [*words, str(movielens / "data")])
    assert json.loads(done.stdout)["interactions"] == 100_000
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "features.parquet",
        "category_shares.parquet",
        "features_report.json",
    }
    done = runner.invoke(main, [*words, str(tmp_path)])
    assert done.exit_code == 2
    assert "Run `pocketrec data` first" in done.stderr
