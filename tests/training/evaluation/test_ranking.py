"""Figures of each head: thresholds of other users, and heads that cannot be measured."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.evaluation.ranking import ranking_figures
from pocketrec_training.evaluation.validation_lists import validation_lists
from pocketrec_training.metrics import ranking as plain
from pocketrec_training.ranker.epochs import score
from pocketrec_training.ranker.model import build_ranker


@pytest.fixture(scope="module")
def ask(world, make_candidates):
    """Return a function that asks an untrained ranker about a split of some events."""
    recipe, spec, data = world
    ranker = build_ranker(recipe.ranker, spec)

    def question(split: str = "test", events: Any = None) -> tuple[Any, Any]:
        asked = data if events is None else dataclasses.replace(data, events=events)
        candidates = make_candidates(asked)
        return SimpleNamespace(
            trained=SimpleNamespace(spec=spec, ranker=ranker, candidates=make_candidates),
            data=asked,
            seed=7,
            split=split,
            fold=TEST if split == "test" else VALID,
            cross_fit=None,
            unseen=None,
            users=1,
            of_users=1,
        ), candidates

    return question


def test_each_head_is_measured_on_its_own_labels(ask):
    question, candidates = ask()
    found, left_out = ranking_figures(question, candidates, validation_lists(question))
    lists = candidates.lists_for(question.data.held_out(TEST))
    values = score(question.trained.ranker, candidates, lists)
    assert list(found) == ["engage", "like"] and left_out == []
    for h, (_, m) in enumerate(found.items()):
        labels, p = lists.labels[..., h][lists.real], values[..., h][lists.real]
        assert (m["lists"], m["cases"], m["positives"]) == (len(lists), len(p), labels.sum())
        assert m["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p))
        assert m["pr_auc"] == pytest.approx(sk.average_precision_score(labels, p))
        assert m["log_loss"] == pytest.approx(plain.log_loss(labels, p))
        assert m["f1"] == pytest.approx(sk.f1_score(labels, p >= np.float32(m["threshold"])))
        for name in ("roc_auc", "pr_auc", "log_loss", "f1"):
            assert m["intervals"][name]["low"] <= m[name] <= m["intervals"][name]["high"]


def test_the_threshold_of_test_cases_is_the_best_on_validation_lists(ask):
    question, candidates = ask()
    validation = validation_lists(question)
    found = ranking_figures(question, candidates, validation)[0]["engage"]
    labels = validation.lists.labels[..., 0][validation.lists.real]
    p = validation.probabilities[..., 0][validation.lists.real]
    best = max(plain.f1(labels, p, float(t)) for t in np.unique(p))
    assert plain.f1(labels, p, found["threshold"]) == pytest.approx(best)
    assert found["threshold"] < 0.5
    assert plain.f1(labels, p) == 0  # at one half, where calibrated rare events never are
    assert best > 0


def test_users_of_the_validation_split_have_the_threshold_of_other_users(ask):
    question, _ = ask("valid")
    validation = validation_lists(question)
    fold = int(validation.folds[0])
    mine, others = validation.folds == fold, validation.folds != fold
    assert mine.any() and others.any()
    real = validation.lists.real[others]
    labels = validation.lists.labels[others][..., 0][real]
    p = validation.probabilities[others][..., 0][real]
    best = max(plain.f1(labels, p, float(t)) for t in np.unique(p))
    (limit, _) = validation.thresholds(without=fold)
    assert limit is not None
    assert plain.f1(labels, p, limit) == pytest.approx(best)


def test_a_head_with_one_class_only_is_said_and_not_nan(ask, world):
    data = world[2]
    question, candidates = ask(events=np.zeros_like(data.events))  # nobody likes anything
    found, left_out = ranking_figures(question, candidates, validation_lists(question))
    assert list(found) == ["engage"]
    (said,) = left_out
    assert said.startswith("head like is not measured: none of its ")
    assert "candidates in" in said and "lists is positive" in said


def test_without_a_validation_positive_there_is_no_f1_and_it_is_said(ask, world):
    data = world[2]
    question, candidates = ask(events=np.where(data.fold == VALID, 0, data.events))
    found, left_out = ranking_figures(question, candidates, validation_lists(question))
    assert found["like"]["f1"] is None and found["like"]["threshold"] is None
    assert "f1" not in found["like"]["intervals"]
    assert left_out == [
        "head like has no F1: no validation candidate is positive, so no threshold could be chosen"
    ]
    assert found["engage"]["f1"] is not None
