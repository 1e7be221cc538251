import dataclasses

import numpy as np
import pytest

from pocketrec_training.ranker.gain import ranker_gain

pytest.importorskip("keras", reason="needs the train extra")

import keras

from pocketrec_training.data.dataset import TEST, VALID
from pocketrec_training.errors import TrainingDivergedError
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.ranker import fit as ranker_fit
from pocketrec_training.ranker.calibration import platt
from pocketrec_training.ranker.cross_fit import FOLDS
from pocketrec_training.ranker.epochs import RankerFit, score
from pocketrec_training.ranker.fit import fit_ranker, learning_cases, ndcg10
from pocketrec_training.ranker.model import build_ranker


def with_ranker(recipe, **changes):
    return dataclasses.replace(recipe, ranker=dataclasses.replace(recipe.ranker, **changes))


@pytest.fixture(scope="module", autouse=True)
def eagerly(uncompiled):
    """Rankers learn uncompiled: compilation takes most of a fit of a few steps."""
    with uncompiled():
        yield


@pytest.fixture(scope="module")
def fitted(world, make_candidates):
    recipe, spec, data = world
    keras.utils.set_random_seed(0)
    candidates = make_candidates(data)
    found = fit_ranker(with_ranker(recipe, epochs=25), spec, candidates, 0.0)
    return found.ranker, candidates, candidates.lists_for(data.held_out(TEST))


def test_an_untrained_ranker_keeps_the_order_of_retrieval(world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    lists = candidates.lists_for(data.held_out(VALID)[:5])
    found = score(build_ranker(recipe.ranker, spec), candidates, lists) @ np.array([1.0, 0.5])
    assert (np.argsort(-found, axis=1, kind="stable") == np.arange(spec.candidates)).all()


def test_two_stages_beat_an_untrained_retrieval_on_cases_never_seen(fitted):
    ranker, candidates, lists = fitted
    found = score(ranker, candidates, lists)
    plain = -lists.pair[..., candidates.spec.pair.index("retrieval_place")]
    assert ndcg10(found @ np.array([1.0, 0.5]), lists) > ndcg10(plain, lists) + 0.005
    labels = lists.labels[..., 0].ravel()
    assert metrics.roc_auc(labels, found[..., 0].ravel()) > 0.6
    # The mean prediction is the observed rate, about one in forty.
    assert found[..., 0].mean() == pytest.approx(labels.mean(), rel=0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "pointwise"},
        {"loss": "pairwise", "calibration": "isotonic"},
        {"examples": "train", "hard_share": 0.0},
        {"negatives": 500},
        {"short_share": 0.5},
    ],
)
def test_every_option_trains_to_finite_probabilities(changes, world, make_candidates, two_folds):
    recipe, spec, data = world
    candidates = make_candidates(data)
    with two_folds():
        found = fit_ranker(with_ranker(recipe, epochs=2, **changes), spec, candidates, 0.0)
    assert len(found.first.losses) == 2
    assert np.isfinite(found.first.losses).all()
    p = score(found.ranker, candidates, candidates.lists_for(data.held_out(TEST)[:9]))
    assert ((p > 0) & (p < 1)).all()


@pytest.fixture
def runs(monkeypatch):
    """What `fit_ranker` asked for: lists, validation lists, epochs; and what it got."""
    found, real = [], RankerFit.run

    def run(self, lists, held, epochs, minutes, short=None):
        made = real(self, lists, held, epochs, minutes, short)
        found.append((lists, held, epochs, made))
        return made

    monkeypatch.setattr(RankerFit, "run", run)
    return found


def test_what_ships_learned_from_all_lists_and_each_fold_from_all_others(
    runs, world, make_candidates
):
    recipe, spec, data = world
    candidates = make_candidates(data)
    fitted = fit_ranker(with_ranker(recipe, epochs=3), spec, candidates, 0.0)
    (lists, held, _, first), *others, (everything, none, epochs, final) = runs
    learn, check = learning_cases(recipe, candidates)
    assert (len(lists), len(held)) == (len(learn), len(check))
    assert (len(everything), len(none)) == (len(learn) + len(check), 0)
    assert epochs == first.epochs == final.epochs > 0
    assert fitted.ranker is final.ranker
    assert fitted.cross_fit is not None
    assert fitted.cross_fit.rankers == (first.ranker, *(made.ranker for *_, made in others))
    # Each fold's ranker learned from everybody but the fold.
    sizes = np.bincount(list(fitted.cross_fit.fold_of.values()), minlength=FOLDS)
    per_user = len(everything) // len(fitted.cross_fit.fold_of)
    assert [len(everything) - len(lists) for lists, *_ in runs[:FOLDS]] == (
        sizes * per_user
    ).tolist()


def test_what_ships_is_calibrated_on_scores_of_rankers_that_did_not_learn_from_the_list(
    runs, world, make_candidates
):
    recipe, spec, data = world
    candidates = make_candidates(data)
    fitted = fit_ranker(with_ranker(recipe, epochs=2), spec, candidates, 0.0)
    learn, check = learning_cases(recipe, candidates)
    cases = learn + check
    everything = runs[-1][0]
    logits = np.zeros(everything.rows.shape)
    assert fitted.cross_fit is not None
    for at, (user, _) in enumerate(cases):
        fold = fitted.cross_fit.fold_of[data.user_ids[user]]
        one = everything.take(np.array([at]))
        logits[at] = score(runs[fold][3].logits, candidates, one)[0, :, 0]
    by_hand = platt(
        logits[everything.real].astype(np.float32), everything.labels[..., 0][everything.real]
    )
    layer = fitted.ranker.get_layer("probabilities")
    assert float(layer.scale[0]) == pytest.approx(by_hand.scale, rel=1e-3)
    assert float(layer.shift[0]) == pytest.approx(by_hand.shift, rel=1e-3)


def test_a_ranker_that_hurts_is_left_at_home(monkeypatch, world, make_candidates, two_folds):
    """The shipped ranker keeps retrieval's order and has calibrated probabilities."""
    recipe, spec, data = world
    candidates = make_candidates(data)
    real = ranker_gain

    def hurts(*words, **options):
        return dataclasses.replace(real(*words, **options), verdict="hurts")

    monkeypatch.setattr(ranker_fit, "ranker_gain", hurts)
    with two_folds():
        fitted = fit_ranker(with_ranker(recipe, epochs=2), spec, candidates, 0.0)
    assert fitted.cross_fit is None
    lists = candidates.lists_for(data.held_out(TEST))
    found = score(fitted.ranker, candidates, lists)
    order = np.argsort(-(found @ np.array(spec.head_weights)), axis=1, kind="stable")
    assert (order == np.arange(spec.candidates)).all()
    assert found[..., 0].mean() == pytest.approx(lists.labels[..., 0].mean(), rel=0.5)


def test_a_ranker_without_a_good_epoch_keeps_the_order_of_retrieval(world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    wild = with_ranker(recipe, epochs=2, learning_rate=50.0)
    fitted = fit_ranker(wild, spec, candidates, 0.0)
    assert (fitted.first.epochs, fitted.gain.verdict) == (0, "learned nothing")
    lists = candidates.lists_for(data.held_out(TEST)[:9])
    found = score(fitted.ranker, candidates, lists) @ np.array(spec.head_weights)
    assert (np.argsort(-found, axis=1, kind="stable") == np.arange(spec.candidates)).all()


def test_lists_without_what_came_next_teach_nothing(runs, world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    real = candidates.lists_for

    def missed(cases):
        lists = real(cases)
        return dataclasses.replace(lists, labels=np.zeros_like(lists.labels))

    candidates.lists_for = missed
    fitted = fit_ranker(with_ranker(recipe, epochs=2), spec, candidates, 0.0)
    assert [made.epochs for *_, made in runs] == [0, 0]
    assert fitted.gain.verdict == "learned nothing"
    assert "no list holds what came next" in fitted.gain.sentence()


def test_a_ranker_that_diverges_is_refused(monkeypatch, world, make_candidates):
    recipe, spec, data = world
    candidates = make_candidates(data)
    monkeypatch.setattr(RankerFit, "_epoch", lambda *_: float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"epoch 1 .* Lower ranker\.learning_rate"):
        fit_ranker(with_ranker(recipe, epochs=2), spec, candidates, 0.0)


def test_with_training_examples_one_fit_is_all(runs, world, make_candidates):
    recipe, spec, data = world
    changed = with_ranker(recipe, epochs=1, examples="train")
    found = fit_ranker(changed, spec, make_candidates(data), 0.0)
    assert [made.ranker for *_, made in runs] == [found.ranker]


def test_ndcg_by_hand(world, make_candidates):
    _, _, data = world
    lists = make_candidates(data).lists_for(data.held_out(VALID)[:3])
    labels = np.zeros_like(lists.labels)
    labels[0, 2, 0] = labels[1, [0, 5], 0] = 1
    known = dataclasses.replace(lists, labels=labels)
    plain = -np.tile(np.arange(20.0), (3, 1))
    two = (1 + 1 / np.log2(7)) / (1 + 1 / np.log2(3))
    assert ndcg10(plain, known) == pytest.approx((0.5 + two + 0) / 3)
