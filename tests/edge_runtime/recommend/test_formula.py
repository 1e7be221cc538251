"""Final scores by the formula of a release: slates, faults, explanations and arms."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the onnx extra")

from pocketrec.explanation import lines
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import History
from pocketrec_bundle.objectives import HeadMeaning, Objectives, parse
from pocketrec_bundle.objectives.reference import evaluate_one
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.experiment_arms import weights_of
from pocketrec_edge.recommend.explain import explain
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Overrides, Query
from pocketrec_export.conformance.tiny_bundle import CREATED_UTC, write_tiny_bundle

HISTORY = History(
    np.array([3, 7], np.int32), np.array([0, 1], np.int32), np.array([1, 2], np.int64)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("formula") / "bundle"
    write_tiny_bundle(out, answers=True)
    return out


@pytest.fixture
def device(folder):
    """Return a function that loads the release with a formula over its heads and columns."""

    def load(text):
        bundle = open_bundle(folder)
        heads = tuple(
            HeadMeaning(
                name=name,
                kind="value" if scale > 1 else "binary",
                events=("like",),
                window_s=0,
                calibration="platt",
                scale=scale,
            )
            for name, scale in (("engage", 1.0), ("like", 40.0))
        )
        tree = parse(text, bundle.spec.heads, bundle.spec.numeric) if text else None
        bundle.objectives = Objectives(heads=heads, formula=tree)
        return Recommender(bundle, "onnx")

    return load


def test_scores_are_those_of_the_formula_in_plain_loops(device):
    found = device("like + engage * max(price, 2) - log1p(popularity)")
    slate = found.recommend(Query(HISTORY, CREATED_UTC, 5))
    assert slate.source == "model" and not slate.faults and len(slate.items) > 1
    for item in slate.items:
        numbers = found.items.numeric[np.array([item.row])][0].astype(np.float64)
        named = dict(zip(found.spec.numeric, np.maximum(numbers, 0.0).tolist(), strict=True))
        assert set(item.probabilities) == {"engage", "like"}
        heads = {"engage": item.probabilities["engage"], "like": item.probabilities["like"] * 40.0}
        tree = found.bundle.objectives.formula
        assert item.score == pytest.approx(evaluate_one(tree, heads, named)[0], rel=1e-6)


def test_without_a_formula_values_are_weighed_in_their_units(device):
    found = device("")
    slate = found.recommend(Query(HISTORY, CREATED_UTC, 3))
    for item in slate.items:
        wanted = item.probabilities["engage"] + 0.5 * 40.0 * item.probabilities["like"]
        assert item.score == pytest.approx(wanted, rel=1e-6)


def test_a_division_by_0_is_a_fault_with_a_slate_all_the_same(device):
    slate = device("engage / (price - price) + like").recommend(Query(HISTORY, CREATED_UTC, 3))
    assert slate.source == "model" and len(slate.items) == 3
    (fault,) = slate.faults
    assert fault.code == "formula_not_finite" and "of 8 candidates" in fault.text
    for item in slate.items:
        assert item.score == pytest.approx(40.0 * item.probabilities["like"], rel=1e-6)


def test_an_explanation_shows_the_parts_and_the_formula(device):
    found = device("like + engage * price")
    _, (first, *_) = explain(found, HISTORY, CREATED_UTC, 2)
    assert first.formula == "like + engage * price"
    assert list(first.parts) == ["engage", "like", "price"]
    assert first.parts["like"] == pytest.approx(40.0 * first.probabilities["like"])
    wanted = first.parts["like"] + first.parts["engage"] * first.parts["price"]
    assert first.score == pytest.approx(wanted, rel=1e-6)
    told = "\n".join(lines(first, 8))
    assert "parts" in told and "formula      like + engage * price" in told


def test_a_release_without_objectives_has_no_parts(folder):
    _, (first, *_) = explain(Recommender(open_bundle(folder), "onnx"), HISTORY, CREATED_UTC, 2)
    assert (first.parts, first.formula) == ({}, None)


def test_head_weights_of_an_arm_do_not_fit_a_formula(device):
    with_formula, without = device("like").bundle, device("").bundle
    with pytest.raises(BundleInvalidError, match="a formula in place of head weights"):
        weights_of({"like": 2.0}, with_formula.spec, with_formula.objectives)
    weights = weights_of({"like": 0.0}, without.spec, without.objectives)
    slate = device("").recommend(
        Query(HISTORY, CREATED_UTC, 3, overrides=Overrides(head_weights=weights))
    )
    for item in slate.items:
        assert item.score == pytest.approx(item.probabilities["engage"], rel=1e-6)
