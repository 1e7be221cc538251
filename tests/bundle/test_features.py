import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.errors import BundleInvalid
from bundle.features import (
    FeatureSpec,
    History,
    context_vector,
    ranker_inputs,
    tower_inputs,
    used_rows,
    user_categories,
)

MONDAY_5_AM = 4 * 86_400 + 5 * 3600  # 1970-01-05, the first Monday of the epoch


def history(rows, events, ts) -> History:
    return History(np.array(rows, np.int32), np.array(events, np.int32), np.array(ts, np.int64))


def test_context_by_hand(spec):
    now = MONDAY_5_AM
    past = history([0, 1, 2], [0, 1, 1], [now - 9000, now - 200, now - 100])
    hour, weekday, depth, count, since, likes = context_vector(spec, past, now)[0]
    assert (hour, weekday, depth, count, since) == (5, 0, 2, 3, 100)
    assert likes == pytest.approx(2 / 3)


def test_context_of_an_empty_history_and_of_an_ended_session(spec):
    assert context_vector(spec, History.empty(), MONDAY_5_AM).tolist() == [[5, 0, 0, 0, -1, 0]]
    past = history([0], [0], [MONDAY_5_AM - 1801])
    assert context_vector(spec, past, MONDAY_5_AM)[0, 2] == 0


def test_clock_set_back_gives_age_zero_not_a_negative_age(spec):
    past = history([0], [0], [MONDAY_5_AM + 500])
    assert context_vector(spec, past, MONDAY_5_AM)[0, 4] == 0
    inputs = tower_inputs(spec, past, np.ones((1, 4), np.float32), MONDAY_5_AM)
    assert inputs["history_ages_s"].tolist() == [[0, 0, 0]]


def test_tower_reads_the_last_events_left_aligned(spec):
    past = history([5, 6, 7, 8], [0, 1, 0, 1], [10, 20, 30, 40])
    assert used_rows(spec, past).tolist() == [6, 7, 8]
    inputs = tower_inputs(spec, past, np.full((3, 4), 2, np.float32), 100)
    assert inputs["history_events"].tolist() == [[2, 1, 2]]
    assert inputs["history_ages_s"].tolist() == [[80, 70, 60]]
    assert inputs["history_length"].tolist() == [3]
    short = tower_inputs(spec, history([5], [0], [10]), np.ones((1, 4), np.float32), 100)
    assert short["history_events"].tolist() == [[1, 0, 0]]
    assert short["history_vectors"][0, 1:].sum() == 0


def test_user_categories_by_hand(spec):
    codes = np.array([[1, 0], [1, 2], [0, 0]], np.uint16)
    shares = user_categories(spec, history([0, 1], [0, 0], [1, 2]), codes)
    assert shares[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    assert user_categories(spec, history([2], [0], [1]), codes).tolist() == [[0, 0, 0]]


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
    events = sorted(events, key=lambda e: e[2])
    past = history(*zip(*events, strict=True)) if events else History.empty()
    context = context_vector(spec, past, 10**6)
    assert np.isfinite(context).all()
    assert context[0, 2] <= len(past)
    shares = user_categories(spec, past, np.array([[0], [1], [1], [0], [1]]))
    assert shares.sum() == pytest.approx(1) or shares.sum() == 0


def test_ranker_inputs_are_padded_to_the_batch(spec):
    inputs = ranker_inputs(
        spec,
        user_vector=np.ones((1, 4), np.float32),
        item_vectors=np.ones((2, 4), np.float32),
        item_categories=np.array([[1, 0], [2, 1]], np.uint16),
        item_numeric=np.full((2, 3), 7, np.float32),
        context=np.zeros((1, 6), np.float32),
        user_category_shares=np.zeros((1, 3), np.float32),
    )
    assert {k: v.shape for k, v in inputs.items()} == {
        "user_vector": (1, 4),
        "item_vectors": (4, 4),
        "item_categories": (4, 2),
        "item_numeric": (4, 3),
        "context": (1, 6),
        "user_categories": (1, 3),
    }
    assert inputs["item_categories"].tolist() == [[1, 0], [2, 1], [0, 0], [0, 0]]


def test_spec_survives_json(spec):
    assert FeatureSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 0},
        {"dim": 1e9},
        {"max_history": "3"},
        {"heads": ["a"]},
        {"head_weights": [1.0, float("nan")]},
        {"context": ["moon_phase"]},
        {"version": 2},
        {"categories": "drama"},
        {"unknown": 1},
    ],
)
def test_bad_spec_is_refused(spec, change):
    with pytest.raises(BundleInvalid, match=r"feature_spec\.json"):
        FeatureSpec.from_json(spec.to_json() | change)
    assert dataclasses.asdict(spec)["dim"] == 4
