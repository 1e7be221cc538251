import json

import numpy as np
import pytest

from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.objectives import HeadMeaning, Objectives, final_scores, parse

SPEC = FeatureSpec(
    dim=2,
    max_history=2,
    event_types=("view", "purchase"),
    categories=(),
    max_categories=1,
    heads=("click", "revenue"),
    head_weights=(1.0, 2.0),
    candidates=3,
)
HEADS = (
    HeadMeaning(
        name="click", kind="binary", events=("view", "purchase"), window_s=0, calibration="platt"
    ),
    HeadMeaning(
        name="revenue",
        kind="value",
        events=("purchase",),
        window_s=86_400,
        calibration="isotonic",
        scale=250.0,
        unit="amount GBP",
    ),
)
OUTPUTS = np.array([[0.5, 0.25], [0.125, 0.5]], np.float32)
NUMERIC = np.array([[9, 2000, 4], [9, 2000, -1]], np.float32)  # popularity, year, price


def written(objectives):
    return json.loads(json.dumps(objectives.to_json()))


def read(value):
    return Objectives.from_json(value, SPEC.heads, SPEC.numeric, SPEC.event_types)


def test_json_gives_the_objectives_back():
    tree = parse("revenue + click * price", SPEC.heads, SPEC.numeric)
    for one in (Objectives(heads=HEADS), Objectives(heads=HEADS, formula=tree)):
        assert read(written(one)) == one


def test_scores_without_objectives_are_the_weighted_sum_of_outputs():
    found = final_scores(SPEC, None, OUTPUTS, NUMERIC)
    assert found.scores.tolist() == [1.0, 1.125] and found.scores.dtype == np.float32
    assert final_scores(SPEC, None, OUTPUTS, NUMERIC, (1, 0)).scores.tolist() == [0.5, 0.125]


def test_scores_without_a_formula_weigh_values_in_their_units():
    found = final_scores(SPEC, Objectives(heads=HEADS), OUTPUTS, NUMERIC)
    assert found.scores.tolist() == [0.5 + 2 * 62.5, 0.125 + 2 * 125.0]
    arm = final_scores(SPEC, Objectives(heads=HEADS), OUTPUTS, NUMERIC, (8.0, 0.0))
    assert arm.scores.tolist() == [4.0, 1.0]


def test_an_unknown_number_counts_0_in_a_formula():
    tree = parse("click * price + 1 / price", SPEC.heads, SPEC.numeric)
    found = final_scores(SPEC, Objectives(heads=HEADS, formula=tree), OUTPUTS, NUMERIC)
    assert found.scores.tolist() == [2.25, 0.0]
    assert found.faulty.tolist() == [False, True]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("version",), 0, "objectives_value"),
        (("heads",), [], "objectives_value"),
        (("heads", 0, "name"), "revenue", "objectives_value"),
        (("heads", 0, "name"), "Click", "objectives_value"),
        (("heads", 0, "kind"), "rank", "objectives_value"),
        (("heads", 0, "calibration"), "none", "objectives_value"),
        (("heads", 0, "events"), ["view", "view"], "objectives_value"),
        (("heads", 0, "events"), ["like"], "objectives_value"),
        (("heads", 0, "events"), [], "objectives_value"),
        (("heads", 0, "window_s"), 1.5, "objectives_value"),
        (("heads", 0, "window_s"), -1, "objectives_value"),
        (("heads", 0, "scale"), 2, "objectives_value"),
        (("heads", 1, "scale"), 0, "objectives_value"),
        (("heads", 1, "unit"), 7, "objectives_value"),
        (("heads", 1), {}, "objectives_keys"),
        (("formula",), ["head", "purchase"], "objectives_value"),
        (("formula",), ["number", "size"], "objectives_value"),
    ],
)
def test_a_wrong_value_is_refused(path, value, code):
    whole = written(Objectives(heads=HEADS))
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BundleInvalidError) as caught:
        read(whole)
    assert caught.value.code == code


def test_a_key_too_many_and_a_later_version():
    whole = written(Objectives(heads=HEADS))
    with pytest.raises(BundleInvalidError) as caught:
        read(whole | {"more": 1})
    assert caught.value.code == "objectives_keys"
    with pytest.raises(BundleTooNewError):
        read(whole | {"version": 2, "more": 1})
