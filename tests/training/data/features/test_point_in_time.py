"""Point-in-time features equal the device's: the same numbers, to the last bit, at every moment."""

import dataclasses

import ibis
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

import pocketrec_bundle.ranker_features as device
from pocketrec_bundle.features import CONTEXT, FeatureSpec
from pocketrec_training.data.dataset import split_categories
from pocketrec_training.data.features.columns import category_codes
from pocketrec_training.data.features.point_in_time import (
    CONTEXT_COLUMNS,
    category_shares,
    context_features,
)
from pocketrec_training.errors import TableInvalidError

TYPES = ("rating", "like")
IDS = ("w", "x", "y", "z", "q")
CATEGORIES = ("c|a|b|unheard", "a|b", "", "b|b|c", "c")
NUMERIC = {
    "popularity": (3, 0, 70_001, 12, 5),
    "year": (2010, 1990, 2000, -1, -1),
    "price": (0.1, 19.99, -1, 33.3, -1),
}
ITEMS = ibis.memtable(
    {
        "item_id": IDS,
        "categories": CATEGORIES,
        **{name: np.array(values, np.float32) for name, values in NUMERIC.items()},
    }
)
SPEC = FeatureSpec(
    dim=4,
    max_history=3,
    event_types=TYPES,
    categories=("a", "b", "c"),
    max_categories=3,
    heads=("engage",),
    head_weights=(1.0,),
    candidates=5,
    recent=2,
)
COLUMNS = device.ItemColumns(
    category_codes(SPEC, [split_categories(text) for text in CATEGORIES]),
    np.array([NUMERIC[name] for name in SPEC.numeric], np.float32).T,
)


def events_of(rows):
    names = ("user_id", "item_id", "event", "value", "ts")
    schema = dict(zip(names, ("string", "string", "string", "float64", "int64"), strict=True))
    return ibis.memtable(
        [dict(zip(names, row, strict=True)) for row in rows], schema=ibis.schema(schema)
    )


def rows_of(expression):
    return ibis.duckdb.connect().to_pyarrow(expression).to_pylist()


# Times around the session gap, with ties; seconds far apart and the first one.
GAP = device.SESSION_GAP_S
times = st.sampled_from([0, 1, 2, GAP, GAP + 1, 3602, 90_000, 2_000_000_000])
event = st.tuples(
    st.sampled_from("uv"), st.sampled_from(IDS), st.sampled_from(TYPES), st.just(None), times
)


def test_every_context_feature_of_the_device_has_an_offline_column():
    assert set(CONTEXT_COLUMNS) == set(CONTEXT) == set(SPEC.context)


@given(rows=st.lists(event, min_size=1, max_size=12), recent=st.integers(1, 4))
@example(rows=[("u", "x", "like", None, 5)], recent=2)
@example(rows=[("u", "x", "like", None, 5), ("u", "z", "rating", None, 5)], recent=2)
@example(
    rows=[("u", i, "like", None, t) for i, t in zip("xyw", (0, 1800, 3601), strict=True)], recent=3
)
# One basket cut by the window, and one item twice in a second.
@example(rows=[*[("u", i, "like", None, 1) for i in IDS], ("u", "x", "like", None, 2)], recent=3)
@example(
    rows=[("u", "x", t, None, 1) for t in TYPES] + [("u", i, "like", None, 2) for i in "xw"],
    recent=1,
)
@settings(max_examples=8, deadline=None)
def test_every_moment_has_the_numbers_of_the_device(device_pasts, rows, recent):
    spec = dataclasses.replace(SPEC, recent=recent)
    context = {
        (r["user_id"], r["ts"]): [r[name] for name in spec.context]
        for r in rows_of(context_features(spec, events_of(rows), ITEMS))
    }
    shares = {key: np.zeros(len(spec.categories) + 1, np.float32) for key in context}
    for r in rows_of(category_shares(spec, events_of(rows), ITEMS)):
        shares[r["user_id"], r["ts"]][r["code"]] = r["share"]
    moments = list(device_pasts(spec, IDS, rows))
    assert len(moments) == len(context)
    for user, ts, history in moments:
        wanted = device.context_vector(spec, COLUMNS, history, ts)[0]
        assert np.array_equal(np.array(context[user, ts], np.float32), wanted)
        wanted = device.category_shares(spec, COLUMNS, history.rows).astype(np.float32)
        assert np.array_equal(shares[user, ts], wanted)


def test_recent_means_and_distinct_share_by_hand():
    """In one second md5("u:item") decides: y 57ae.., z 8021.., x 9424.., so y is the first."""
    basket = [("u", item, "rating", None, 0) for item in "xyz"]
    later = [
        ("u", "w", "like", None, 10),
        ("u", "x", "like", None, 20),
        ("u", "q", "like", None, 30),
    ]
    names = ("recent_year", "recent_popularity", "distinct_share", "seconds_since_first")
    spec = dataclasses.replace(SPEC, context=names)
    found = rows_of(context_features(spec, events_of([*basket, *later]), ITEMS).order_by("ts"))
    assert [[row[name] for name in names] for row in found] == [
        [-1, -1, 1, -1],  # nothing is known
        [1990, 6, 1, 10],  # z (year unknown), x: (12 + 0) / 2
        [2000, 1.5, 1, 20],  # x, w: (1990 + 2010) / 2, (0 + 3) / 2
        [2000, 1.5, np.float32(0.8), 30],  # w, x; 4 items in 5 events
    ]


def test_one_user_does_not_see_the_events_of_another():
    rows = [("u", "x", "like", None, 0), ("v", "x", "like", None, 1)]
    names = ("n_events", "distinct_share", "seconds_since_first", "recent_year")
    spec = dataclasses.replace(SPEC, context=names)
    for row in rows_of(context_features(spec, events_of(rows), ITEMS)):
        assert [row[name] for name in names] == [0, 1, -1, -1]


def test_context_feature_without_offline_column_is_refused():
    spec = dataclasses.replace(SPEC, context=("hour", "moon_phase"))
    with pytest.raises(TableInvalidError, match="moon_phase has no offline column"):
        context_features(spec, events_of([]), ITEMS)


def test_order_of_columns_is_the_order_of_the_spec():
    spec = dataclasses.replace(SPEC, context=("n_events", "hour"))
    table = context_features(spec, events_of([("u", "x", "like", None, 7200)]), ITEMS)
    assert table.columns == ("user_id", "ts", "n_events", "hour")
    assert rows_of(table) == [{"user_id": "u", "ts": 7200, "n_events": 0.0, "hour": 2.0}]


@pytest.mark.parametrize("features", [context_features, category_shares])
def test_the_same_expressions_compile_for_spark(features, monkeypatch):
    # The option that Ibis sets when it imports pyspark, which is not needed to compile.
    class SparkOptions(ibis.config.Config):
        treat_nan_as_null: bool = False

    monkeypatch.setattr(ibis.options, "pyspark", SparkOptions())
    events = ibis.table(events_of([]).schema(), name="interactions")
    expression = features(SPEC, events, ibis.table(ITEMS.schema(), name="items"))
    assert "`interactions`" in PySparkCompiler().to_sqlglot(expression).sql("spark")
