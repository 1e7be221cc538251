import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.features import NEIGHBOUR_PAIR, PAIR, REPEAT_PAIR, FeatureSpec, History
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.ranker_features import (
    ItemColumns,
    Request,
    category_shares,
    context_vector,
    padded,
    pair_columns,
    ranker_features,
)

MONDAY_5_AM = 4 * 86_400 + 5 * 3600  # 1970-01-05, the first Monday of the epoch
ITEMS = ItemColumns(
    np.array([[1, 0], [1, 2], [0, 0]], np.uint16),
    np.array([[10, 1990, -1], [20, -1, -1], [40, 1960, -1]], np.float32),
)


def history(rows, events, ts) -> History:
    return History(np.array(rows, np.int32), np.array(events, np.int32), np.array(ts, np.int64))


def named(names, values) -> dict:
    return dict(zip(names, values.tolist(), strict=True))


def request(past: History, now: int, vectors) -> Request:
    user = np.array([[1, 0, 0, 0]], np.float32)
    return Request(past, now, user, np.array(vectors, np.float32).reshape(-1, 4))


def test_context_by_hand(spec):
    now = MONDAY_5_AM
    past = history([0, 1, 1], [0, 1, 1], [now - 9000, now - 200, now - 100])
    found = named(spec.context, context_vector(spec, ITEMS, past, now)[0])
    assert found == {
        "hour": 5,
        "weekday": 0,
        "session_depth": 2,
        "n_events": 3,
        "seconds_since_last": 100,
        "seconds_since_first": 9000,
        "like_share": pytest.approx(2 / 3),
        "distinct_share": pytest.approx(2 / 3),
        "recent_popularity": pytest.approx(50 / 3),
        "recent_year": 1990,  # the others are unknown
        "recent_price": -1,
    }


def test_context_of_an_empty_history_and_of_an_ended_session(spec):
    empty = context_vector(spec, ITEMS, History.empty(), MONDAY_5_AM)
    assert empty.tolist() == [[5, 0, 0, 0, -1, -1, 0, 1, -1, -1, -1]]
    past = history([0], [0], [MONDAY_5_AM - 1801])
    found = named(spec.context, context_vector(spec, ITEMS, past, MONDAY_5_AM)[0])
    assert found["session_depth"] == 0


def test_clock_set_back_gives_age_zero_not_a_negative_age(spec):
    past = history([0], [0], [MONDAY_5_AM + 500])
    found = named(spec.context, context_vector(spec, ITEMS, past, MONDAY_5_AM)[0])
    assert found["seconds_since_last"] == found["seconds_since_first"] == 0
    asked = request(past, MONDAY_5_AM, [1, 0, 0, 0])
    pair = pair_columns(spec, ITEMS, asked, np.array([0]), np.ones((1, 4), np.float32))
    assert named(spec.pair, pair[0])["seconds_since_had"] == 0


def test_pair_columns_by_hand(spec):
    past = history([0, 1, 0], [0, 0, 0], [10, 20, 30])
    asked = request(past, 100, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 2, 0, 0]])
    vectors = np.array([[3, 4, 0, 0], [2, 0, 0, 0]], np.float32)
    found = pair_columns(spec, ITEMS, asked, np.array([1, 2]), vectors)
    odds = 1 + math.exp(-1)
    assert named(spec.pair, found[0]) == pytest.approx(
        {
            "retrieval_score": 3,
            "retrieval_gap": 0,
            "retrieval_share": 1 / odds,
            "retrieval_place": 0,
            "times_had": 1,
            "seconds_since_had": 80,
            "last_cosine": 0.8,
            "max_cosine": 0.8,
            "mean_cosine": (0.8 + 0.6 + 0.8) / 3,
            "taste": 1,  # categories 1 (3 of 4 marks) and 2 (1 of 4)
            "recent_taste": 1,
        }
    )
    second = named(spec.pair, found[1])
    assert (second["times_had"], second["seconds_since_had"], second["taste"]) == (0, -1, 0)
    assert second["retrieval_share"] == pytest.approx(math.exp(-1) / odds)
    assert (second["retrieval_place"], second["retrieval_gap"]) == (1, 1)


def test_recent_taste_forgets_what_taste_remembers(spec):
    past = history([1, 0, 0, 0, 0, 0], [0] * 6, range(6))
    asked = request(past, 9, np.ones((3, 4)))
    found = pair_columns(spec, ITEMS, asked, np.array([1]), np.ones((1, 4), np.float32))
    both = named(spec.pair, found[0])
    assert both["recent_taste"] == 1  # five marks of category 1
    shares = category_shares(spec, ITEMS, past.rows)
    assert shares.tolist() == pytest.approx([0, 6 / 7, 1 / 7])


def test_pair_columns_without_history_are_neutral(spec):
    asked = request(History.empty(), 100, [])
    found = pair_columns(spec, ITEMS, asked, np.array([0, 1]), np.zeros((2, 4), np.float32))
    assert named(spec.pair, found[1]) == {
        **dict.fromkeys(spec.pair, 0),
        "retrieval_share": 0.5,
        "retrieval_place": 1,
        "seconds_since_had": -1,
    }


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 10**6))))
def test_features_are_finite_and_bounded_for_any_history(events):
    spec = FeatureSpec(
        dim=2,
        max_history=3,
        event_types=("rating", "like"),
        categories=("x",),
        max_categories=1,
        heads=("engage",),
        head_weights=(1.0,),
        candidates=2,
    )
    items = ItemColumns(
        np.array([[0], [1], [1], [0], [1]]),
        np.array([[-1, 5, 0], [2, -1, 1], [9, 9, 9], [-1, -1, -1], [0, 0, 0]], np.float32),
    )
    events = sorted(events, key=lambda e: e[2])
    past = history(*zip(*events, strict=True)) if events else History.empty()
    used = past.rows[-3:]
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    asked = Request(past, 10**6, np.array([[-1, 2]], np.float32), vectors[used])
    rows = np.array([4, 1, 3])
    context = named(spec.context, context_vector(spec, items, past, 10**6)[0])
    assert context["session_depth"] <= context["n_events"] == len(past)
    for row in pair_columns(spec, items, asked, rows, vectors[rows]):
        found = named(spec.pair, row)
        assert np.isfinite(list(found.values())).all()
        assert found["times_had"] == sum(
            r == rows[int(found["retrieval_place"])] for r in past.rows
        )
        assert (found["seconds_since_had"] < 0) == (found["times_had"] == 0)
        assert -1.001 <= found["mean_cosine"] <= found["max_cosine"] <= 1.001
        assert 0 <= found["taste"] <= 1.001
        assert 0 < found["retrieval_share"] <= 1


def test_ranker_inputs_are_padded_to_the_batch(spec):
    asked = request(History.empty(), 100, [])
    inputs = ranker_features(spec, ITEMS, asked, np.array([0, 1]), np.ones((2, 4), np.float32))
    full = padded(spec, inputs)
    assert {k: v.shape for k, v in full.items()} == {
        "user_vector": (1, 4),
        "item_vectors": (4, 4),
        "item_categories": (4, 2),
        "item_numeric": (4, 3),
        "context": (1, len(spec.context)),
        "pair": (4, len(spec.pair)),
    }
    assert full["item_categories"].tolist() == [[1, 0], [1, 2], [0, 0], [0, 0]]
    assert {v.dtype for k, v in full.items() if k != "item_categories"} == {np.dtype("float32")}


def test_format_names_every_column(spec, repository):
    text = (repository / "bundle" / "FORMAT.md").read_text()
    assert [name for name in (*spec.context, *spec.pair) if f"`{name}`" not in text] == []


def test_votes_and_own_events_are_columns_where_the_spec_has_them(spec):
    day = 86_400
    spec = dataclasses.replace(
        spec, pair=(*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR), neighbours=1, neighbour_decay=0.5
    )
    leads_on = Neighbours(
        rows=np.array([[1], [2], [0]]),
        weights=np.array([[100], [-50], [20]], np.int8),
        scales=np.full(3, 0.01, np.float32),
    )
    items = dataclasses.replace(ITEMS, neighbours=leads_on)
    past = history([0, 1, 0], [0, 0, 0], [0, 60 * day, 120 * day])
    asked = request(past, 120 * day, np.ones((3, 4)))
    found = pair_columns(spec, items, asked, np.array([1, 2]), np.ones((2, 4), np.float32))
    one, two = (named(spec.pair, line) for line in found)
    # Item 0 votes for 1, now and two events ago; item 1, in between, votes against 2.
    assert one["neighbour_sum"] == pytest.approx(1.0)
    assert one["neighbour_recent"] == pytest.approx(1.0 + 0.25)
    assert two["neighbour_sum"] == pytest.approx(-0.5)
    assert two["neighbour_recent"] == pytest.approx(-0.25)
    assert (one["recent_had"], two["recent_had"]) == (pytest.approx(0.5), 0)
    again = pair_columns(spec, items, asked, np.array([0]), np.ones((1, 4), np.float32))
    assert named(spec.pair, again[0])["recent_had"] == pytest.approx(0.25 + 1.0)
