"""Labels of objectives, by hand: a user views, buys, watches and returns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pocketrec_bundle.objectives import HeadMeaning, Objectives
from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset, Items
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.ranker.outcomes import Outcomes
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.objective import Objective

VIEW, BUY, WATCH = range(3)
TYPES = ("view", "buy", "watch")
DAY = 86_400
#         row event ts     fold  value
EVENTS = [
    (0, VIEW, 0, TRAIN, np.nan),
    (0, BUY, 100, TRAIN, 10.0),
    (1, BUY, 200, TRAIN, 1000.0),
    (2, WATCH, 300, TRAIN, 30.0),
    (1, VIEW, 1000, VALID, np.nan),
    (1, BUY, 1000 + DAY, VALID, 8.0),
    (1, BUY, 1001 + DAY, VALID, 5.0),
    (2, WATCH, 1002 + DAY, VALID, 45.0),
    (3, BUY, 1003 + DAY, VALID, -3.0),
    (3, BUY, 1004 + DAY, TEST, 7.0),
]


@pytest.fixture
def data():
    rows, events, ts, fold, values = zip(*EVENTS, strict=True)
    items = Items(
        ids=list("abcd"),
        titles=list("abcd"),
        categories=[()] * 4,
        price=np.array([5, -1, 60, 1], np.float32),
        year=np.full(4, -1, np.float32),
        features={"duration": np.array([np.nan, 0, 60, 1], np.float32)},
    )
    return Dataset(
        items=items,
        user_ids=["u"],
        offsets=np.array([0, len(rows)], np.int64),
        rows=np.array(rows, np.int32),
        events=np.array(events, np.int32),
        ts=np.array(ts, np.int64),
        fold=np.array(fold, np.int8),
        values=np.array(values, np.float64),
    )


def labels(data, objectives, case=(0, 4), last=5, scale=12.0):
    heads = tuple(
        HeadMeaning(
            name=one.name,
            kind=one.kind,
            events=one.events,
            window_s=one.window_s,
            calibration="platt",
            scale=scale if one.kind == "value" else 1.0,
        )
        for one in objectives
    )
    found = Outcomes.of(Objectives(heads=heads), tuple(objectives), data.items)
    rows, values = found.labels(data, TYPES, case, last)
    return dict(zip(rows.tolist(), values.tolist(), strict=True))


def test_without_a_window_only_the_next_event_counts(data):
    assert labels(data, [Objective(name="buy", events=("buy",))]) == {1: [0.0]}
    assert labels(data, [Objective(name="click", events=("view", "buy"))]) == {1: [1.0]}


def test_a_basket_counts_with_the_next_event(data):
    found = labels(data, [Objective(name="buy", events=("buy",))], case=(0, 5), last=7)
    assert found == {1: [1.0]}


def test_a_window_counts_later_events_of_the_fold_but_none_of_the_next_fold(data):
    objectives = [
        Objective(name="buy", events=("buy",), window_s=2 * DAY),
        Objective(name="soon", events=("buy",), window_s=DAY),
        Objective(name="revenue", events=("buy",), kind="value", window_s=2 * DAY),
    ]
    found = labels(data, objectives)
    # 8 + 5 is capped at the scale of 12; a return counts 0, and the test event nothing.
    assert found == {1: [1.0, 1.0, 1.0], 2: [0.0, 0.0, 0.0], 3: [1.0, 0.0, 0.0]}
    assert labels(data, objectives, scale=26.0)[1] == [1.0, 1.0, 0.5]


def test_a_share_divides_by_a_column_and_an_unknown_column_counts_0(data):
    one = Objective(
        name="watched", events=("watch", "buy"), kind="share", of="duration", window_s=2 * DAY
    )
    found = labels(data, [one])
    assert found == {1: [0.0], 2: [0.75], 3: [0.0]}


def recipe_of(*objectives, **more):
    return parse_recipe(
        {
            "name": "shop",
            "data": {"interactions": "i.csv", "items": "items.csv"},
            "columns": {"event": "event", "value": "value"},
            "events": {
                "types": list(TYPES),
                "default": "view",
                "buy": {"value": "amount", "currency": "GBP"},
            },
            "features": {"items": {"duration": {"kind": "number"}}},
            "objectives": list(objectives),
            **more,
        },
        "shop.toml",
    )


REVENUE = {"name": "revenue", "events": ["buy"], "kind": "value", "winsor": 0.5}


def test_the_scale_is_a_quantile_of_the_training_values_and_what_it_removes_is_reported(data):
    recipe = recipe_of(REVENUE, {"name": "click", "events": ["view"]})
    objectives, facts = fit_objectives(recipe, data, "tables")
    assert objectives is not None
    assert [(head.name, head.scale, head.unit) for head in objectives.heads] == [
        ("revenue", 505.0, "amount GBP"),  # halfway between 10 and 1000
        ("click", 1.0, ""),
    ]
    assert facts[0].capped == 1 and facts[0].lost == pytest.approx(495 / 1010)
    assert facts[0].sentence() == (
        "objective revenue: 2 of 2 training events count; 1 above 505 (amount GBP) count as that, "
        "which removes 49.0% of the sum"
    )


def test_missing_values_and_returns_are_reported(data):
    data.values[1], data.values[0] = -1.0, np.nan
    _, facts = fit_objectives(recipe_of({**REVENUE, "events": ["buy", "view"]}), data, "tables")
    assert (facts[0].events, facts[0].positives, facts[0].unknown, facts[0].below_0) == (3, 1, 1, 1)


def test_events_that_do_not_occur_are_refused(data):
    data.events[data.events == WATCH] = VIEW
    recipe = recipe_of({"name": "watched", "events": ["watch"]})
    with pytest.raises(
        RunInvalidError, match=r"watched: no event is of type watch; the tables have view, buy"
    ):
        fit_objectives(recipe, data, "tables")


def test_no_positive_example_is_refused(data):
    data.values[data.fold == VALID] = 0.0
    with pytest.raises(RunInvalidError, match="the validation events have no positive example: 3"):
        fit_objectives(recipe_of(REVENUE), data, "tables")
    one = SimpleNamespace(fold=data.fold)
    data.fold[(one.fold == VALID) & (data.events == VIEW)] = TEST
    recipe = recipe_of({"name": "click", "events": ["view"]})
    with pytest.raises(RunInvalidError, match="click: the validation events have no positive"):
        fit_objectives(recipe, data, "tables")


def test_a_recipe_without_objectives_has_none_and_a_formula_alone_keeps_the_usual_heads(data):
    assert fit_objectives(recipe_of(), data, "tables") == (None, ())
    usual: Any = recipe_of(ranker={"formula": "engage * price"})
    objectives, facts = fit_objectives(usual, data, "tables")
    assert objectives is not None and facts == ()
    assert [(head.name, head.events) for head in objectives.heads] == [("engage", TYPES)]
