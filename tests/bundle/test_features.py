import dataclasses

import numpy as np
import pytest

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec, History, tower_inputs, used_rows


def history(rows, events, ts) -> History:
    return History(np.array(rows, np.int32), np.array(events, np.int32), np.array(ts, np.int64))


def test_clock_set_back_gives_age_zero_not_a_negative_age(spec):
    inputs = tower_inputs(spec, history([0], [0], [500]), np.ones((1, 4), np.float32), 0)
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
        {"head_weights": [1.0, 10**400]},
        {"head_weights": [1.0, True]},
        {"neighbour_decay": False},
        {"candidates": 65_536},
        {"pair": []},
        {"pair": ["taste", "taste"]},
        {"event_types": []},
        {"version": True},
        {"context": ["moon_phase"]},
        {"pair": ["distance"]},
        {"recent": 0},
        {"numeric": ["year", "price"]},
        {"version": 2},
        {"categories": "drama"},
        {"unknown": 1},
    ],
)
def test_bad_spec_is_refused(spec, change):
    with pytest.raises(BundleInvalidError, match=r"feature_spec\.json"):
        FeatureSpec.from_json(spec.to_json() | change)
    assert dataclasses.asdict(spec)["dim"] == 4
