"""Explanations against plain loops, on a release whose models a pencil can follow."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_bundle.declared.in_words import in_words
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import CategoryCap, Rules
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError
from pocketrec_edge.recommend.explain import FAR, HAD, SCORE, WITHDRAWN, explain
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_export.conformance.tiny_bundle import (
    IDS,
    OFFSETS,
    SPEC,
    tiny_items,
    write_tiny_bundle,
)
from pocketrec_export.conformance.tiny_features import FEATURES, tiny_features
from pocketrec_export.conformance.tiny_models import VOTES

NOW = 1_700_000_000
LIMIT = 2
"""Of the tiny release's category cap."""


def history(*rows: int) -> History:
    n = len(rows)
    return History(np.array(rows, np.int32), np.ones(n, np.int32), NOW - np.arange(n, 0, -1) * 60)


@pytest.fixture(scope="module")
def tiny(tiny_release):
    return Recommender(open_bundle(tiny_release), "onnx")


def mean_vector(bundle, rows: list[int]) -> np.ndarray:
    """The tiny user tower by hand."""
    total = np.zeros(SPEC.dim)
    for row in rows[-SPEC.max_history :]:
        total += bundle.array("index/rows")[row].astype(float) * float(bundle.scales[[row]][0])
    return total / max(len(rows[-SPEC.max_history :]), 1)


def final_score(bundle, rows: list[int], item: int) -> float:
    """The tiny ranker by hand: weights 1 and .5 of a logistic function and its half."""
    vector = bundle.array("index/rows")[item].astype(float) * float(bundle.scales[[item]][0])
    votes = 0.0
    for past in set(rows[-SPEC.max_history :]):
        for n in range(SPEC.neighbours):
            if bundle.array("items/neighbours")[past, n] == item:
                weight = float(bundle.array("items/neighbour_weights")[past, n])
                votes += weight * float(bundle.array("items/neighbour_scales")[past])
    return 1.25 / (1 + np.exp(-(mean_vector(bundle, rows) @ vector + VOTES * votes)))


@pytest.mark.parametrize("rows", [[7, 30, 12], [2], [5, 6, 7, 8, 10, 11, 12, 13, 14]])
def test_contribution_is_the_score_less_the_score_without_the_event(tiny, rows):
    _, items = explain(tiny, history(*rows), NOW)
    last = range(len(rows))[-SPEC.max_history :]
    for item in items:
        row = tiny.bundle.row_of(item.item_id)
        vector = tiny.index.vectors(np.array([row]))[0]
        assert len(item.contributions) == len(last)
        for event, found in zip(last, item.contributions, strict=True):
            left = [*rows[:event], *rows[event + 1 :]]  # an older event comes into the window
            less = (mean_vector(tiny.bundle, rows) - mean_vector(tiny.bundle, left)) @ vector
            assert found.retrieval == pytest.approx(less, abs=1e-4)
            score = final_score(tiny.bundle, rows, row)
            assert item.score == pytest.approx(score, abs=1e-4)
            less = score - final_score(tiny.bundle, left, row)
            assert found.final == pytest.approx(less, abs=1e-4)
            assert found.item_id == IDS[rows[event]]


def test_the_event_that_gives_most_need_not_be_the_nearest(tiny):
    """A neighbour's vote lifts an item whose vector is far away."""
    found = 0
    for rows in ([14, 15, 21], [7, 30, 12], [3, 40, 22]):
        for item in explain(tiny, history(*rows), NOW)[1]:
            finals = [each.final for each in item.contributions if each.final is not None]
            assert len(finals) == len(item.contributions)
            cosines = [each.cosine for each in item.contributions]
            assert item.nearest is not None
            assert item.nearest.cosine == max(cosines)
            if item.because is not None:
                assert item.because.final == max(finals) > 0
            found += item.because is not None and item.because != item.nearest
    assert found


def test_each_stage_that_brought_a_candidate_is_named(tiny):
    rows = [14, 15, 21]
    bundle = tiny.bundle
    slate, _ = explain(tiny, history(*rows), NOW)
    free = np.flatnonzero(bundle.available)
    voted = {
        int(bundle.array("items/neighbours")[past, n])
        for past in rows
        for n in range(SPEC.neighbours)
        if bundle.array("items/neighbour_weights")[past, n] > 0
    }
    user = mean_vector(bundle, rows)
    nearest = sorted(range(4), key=lambda cell: -(bundle.array("index/centroids")[cell] @ user))
    for row in slate.candidates.tolist():
        (item,) = explain(tiny, history(*rows), NOW, item_id=bundle.item_id(row))[1]
        assert row in free
        assert item.brought_by
        cell = next(c for c in range(4) if OFFSETS[c] <= row < OFFSETS[c + 1])
        assert item.cell_place == nearest.index(cell) + 1
        if "cells" in item.brought_by:
            assert item.cell_place <= 3  # two are read; one may be empty
        if "neighbours" in item.brought_by:
            assert row in voted
        assert ("own items" in item.brought_by) <= (row in rows)


@given(st.lists(st.integers(0, 47), max_size=12), st.integers(1, 6))
@settings(deadline=None, max_examples=25)
def test_what_is_not_shown_says_why(tiny, rows, k):
    slate, items = explain(tiny, history(*rows), NOW, k)
    assert [item.place for item in items] == list(range(1, len(items) + 1))
    assert all(item.why_not is None for item in items)
    shown = {item.row for item in slate.items}
    first = tiny.items.categories[np.array(sorted(shown), np.int64)][:, 0]
    for row in range(0, 48, 5):
        (item,) = explain(tiny, history(*rows), NOW, k, item_id=IDS[row])[1]
        assert (item.place is None) == (item.why_not is not None) == (row not in shown)
        if row in shown:
            assert (item.steps[-1].place, item.propensity) == (item.place, 1.0)
        elif row not in slate.candidates:
            assert item.why_not == (WITHDRAWN if row % 9 == 0 else FAR)
            assert item.score is item.score_place is item.retrieval_place is None
        elif item.why_not == "category_cap":
            category = tiny.items.categories[np.array([row])][0, 0]
            assert (first == category).sum() >= LIMIT
        elif item.why_not == SCORE:
            assert item.score_place > k


def test_without_the_rule_that_put_it_out_an_item_was_in_the_slate(tmp_path):
    capped = Rules(depth=8, rules=(CategoryCap(place=0, limit=1),))
    for name, rules in (("capped", capped), ("free", Rules(depth=8, rules=()))):
        write_tiny_bundle(tmp_path / name, answers=True, rules=rules)
    one, two = (Recommender(open_bundle(tmp_path / name), "onnx") for name in ("capped", "free"))
    put_out = 0
    for seed in range(6):
        past = history(*np.random.default_rng(seed).integers(0, 48, 4).tolist())
        free = [item.row for item in two.recommend(Query(past, NOW, 3)).items]
        slate, _ = explain(one, past, NOW, 3)
        for row in slate.candidates.tolist():
            (item,) = explain(one, past, NOW, 3, item_id=IDS[row])[1]
            if item.why_not == "category_cap":
                assert row in free
                assert item.steps[0].place == free.index(row) + 1
                put_out += 1
    assert put_out


def test_a_release_without_rules_is_explained_by_its_policy(tmp_path):
    write_tiny_bundle(tmp_path / "plain", answers=True, rules=None)
    device = Recommender(open_bundle(tmp_path / "plain"), "onnx")
    for seed in range(6):
        past = history(*np.random.default_rng(seed).integers(0, 48, 4).tolist())
        slate, items = explain(device, past, NOW, 5)
        names = [SCORE, "near_duplicates", "category_cap"]
        assert all([step.rule for step in item.steps] == names for item in items)
        first = tiny_items().categories[[item.row for item in slate.items], 0]
        for row in set(slate.candidates.tolist()) - {item.row for item in slate.items}:
            (item,) = explain(device, past, NOW, 5, item_id=IDS[row])[1]
            if item.why_not == "category_cap":
                assert (first == tiny_items().categories[row, 0]).sum() == LIMIT


def test_a_film_that_was_had_does_not_come_again(small_release):
    device = Recommender(open_bundle(small_release))
    seen = device.bundle.item_id(7)
    (item,) = explain(device, history(3, 7), NOW, item_id=seen)[1]
    assert (item.why_not, item.place) == (HAD, None)
    assert item.nearest is not None
    assert item.nearest.cosine == pytest.approx(1.0, abs=1e-5)
    _, items = explain(device, history(3, 7), NOW)
    assert [s.rule for s in items[0].steps] == [SCORE, "near_duplicates", "category_cap"]
    without = device.recommend(Query(history(3), NOW)).user_vector
    vector = device.index.vectors(np.array([device.bundle.row_of(items[0].item_id)]))[0]
    less = items[0].retrieval_score - without @ vector
    assert items[0].contributions[1].retrieval == pytest.approx(less, abs=1e-5)


class Broken:
    def run(self, inputs):
        raise EngineError("broken on purpose")


def test_broken_models_leave_what_can_be_told(tiny, tiny_release):
    bundle = open_bundle(tiny_release)
    slate, items = explain(Recommender(bundle, models=(tiny._tower, Broken())), history(7, 30), NOW)
    assert slate.source == "retrieval"
    assert all(item.probabilities == {} for item in items)
    assert all(each.final is None for item in items for each in item.contributions)
    slate, items = explain(Recommender(bundle, models=(Broken(), Broken())), history(7), NOW)
    assert slate.source == "fallback"
    assert {(item.brought_by, item.because) for item in items} == {(("popular items",), None)}


def test_explaining_logs_nothing_and_shows_what_recommend_shows(tiny_release, tmp_path):
    Device(tmp_path, engine="onnx").install(tiny_release)
    phone = Device(tmp_path, engine="onnx", rng=np.random.default_rng(3))
    for item_id in IDS[12:15]:
        phone.feedback(item_id, "like")
    before = phone.status().plain()["events"]
    told = phone.explain(k=4)
    assert phone.status().plain()["events"] == before == 3
    phone = Device(tmp_path, engine="onnx", rng=np.random.default_rng(3))
    shown = phone.recommend(4).items
    assert [i.item_id for i in told.items] == [i.item_id for i in shown]
    for name in ("score", "touched", "propensity", "reason"):
        assert [getattr(i, name) for i in told.items] == [getattr(i, name) for i in shown]
    for one, two in zip(told.items, shown, strict=True):
        assert one.retrieval_score == pytest.approx(two.retrieval_score, abs=1e-5)
        assert one.probabilities == pytest.approx(two.probabilities, abs=1e-5)
    with pytest.raises(InputError, match="no such item"):
        phone.explain("nobody")


def test_command_tells_the_stages_and_what_json_has(tiny_release, tmp_path, runner):
    home = str(tmp_path / "phone")
    assert Device(tmp_path / "empty").explain().source == "none"
    Device(tmp_path / "phone", engine="onnx").install(tiny_release)
    phone = Device(tmp_path / "phone", engine="onnx")
    phone.feedback(IDS[14], "like")
    phone.close()
    words = ["device", "explain", "--home", home, "--engine", "onnx"]
    told = json.loads(runner.invoke(main, [*words, "--json", IDS[14]]).stdout)
    (item,) = told["items"]
    assert told["candidates"] == 8
    text = runner.invoke(main, [*words, IDS[14]]).stdout
    assert f"{item['title']} ({IDS[14]})" in text
    for said in ("brought by", "own items", "retrieval", "engage", "because of", "nearest"):
        assert said in text
    withdrawn = runner.invoke(main, [*words, IDS[9]]).stdout
    assert "not shown    the release has withdrawn it" in withdrawn
    assert runner.invoke(main, [*words, "nobody"]).exit_code == 2


def test_declared_features_are_told_in_words(tmp_path):
    write_tiny_bundle(tmp_path / "typed", 3, answers=True)
    device = Recommender(open_bundle(tmp_path / "typed"), "onnx")
    (item,) = explain(device, history(3, 7), NOW, item_id=IDS[0])[1]
    assert [*item.features] == ["brand", "image", "margin", "new", "tags", "weight"]
    assert item.features["image"] == item.features["margin"] == "unknown"
    values, items = tiny_features(48), device.bundle.item_features
    for row in range(48):
        words = in_words(items, row)
        code = int(values["brand"].values[row, 0])
        brands = ("unknown", *FEATURES.items[0].names, "another name", "another name")
        assert words["brand"] == brands[code]
        tags = [f"tag {tag - 1}" for tag in values["tags"].values[row].tolist() if tag]
        assert words["tags"] == (", ".join(tags) or "unknown")
        margin = values["margin"].values[row]
        assert words["margin"] == ("unknown" if np.isnan(margin) else f"{margin:g}")
