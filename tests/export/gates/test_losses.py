import numpy as np
import pytest

pytest.importorskip("pydantic", reason="needs the train extra")

from pocketrec_export.gates.losses import ScoredCandidates, auc_loss, ndcg_loss
from pocketrec_training.metrics.ranking import roc_auc
from pocketrec_training.metrics.significance import paired_bootstrap


def sparse_ndcg(n: int = 850, hits: int = 140) -> np.ndarray:
    """NDCG@10 of n cases of which most have no hit; mean .056 to .066 as on a small shop."""
    rng = np.random.default_rng(5)
    values = np.zeros(n)
    values[:hits] = 1 / np.log2(rng.integers(0, 10, hits) + 2.0)
    return rng.permutation(values)


def test_one_slipped_hit_among_850_cases_is_no_proof_of_a_loss_of_half_a_percent():
    exact = sparse_ndcg()
    found = exact.copy()
    found[np.argmax(found)] = 0.0
    loss = ndcg_loss(exact, found, seed=7)
    assert 0.005 < loss.value < 0.03
    assert loss.low == 0.0  # more than one sample in three lacks the case
    assert loss.value < loss.high < 0.06


def test_a_loss_in_many_cases_is_proved():
    exact = sparse_ndcg()
    loss = ndcg_loss(exact, exact * 0.9, seed=7)
    assert loss.value == pytest.approx(0.1)
    assert loss.low == pytest.approx(0.1)  # every case loses a tenth, whichever are drawn
    slipped = exact.copy()
    slipped[np.flatnonzero(exact)[::5]] = 0.0
    assert ndcg_loss(exact, slipped, seed=7).low > 0.1


def test_numerator_and_denominator_are_redrawn_together():
    """By hand: cases lose 1 of 1 and 0 of 3, so the loss of a sample is 1, 1/4 or 0."""
    loss = ndcg_loss(np.array([1.0, 3.0]), np.array([0.0, 3.0]), seed=1)
    assert (loss.value, loss.low, loss.high) == (0.25, 0.0, 1.0)


def test_a_reference_without_a_hit_loses_nothing():
    loss = ndcg_loss(np.zeros(4), np.ones(4), seed=1)
    assert (loss.value, loss.low, loss.high) == (0.0, 0.0, 0.0)


def candidates(n: int, m: int, seed: int) -> ScoredCandidates:
    """n cases of m candidates, every third case with one target; scores with many ties."""
    rng = np.random.default_rng(seed)
    taken = np.zeros((n, m), np.bool_)
    taken[::3, 0] = True
    scores = np.round(rng.normal(size=(n, m)) + taken, 1).astype(np.float32)
    return ScoredCandidates(
        scores=scores.ravel(), taken=taken.ravel(), cases=np.repeat(np.arange(n), m), n=n
    )


def worse(one: ScoredCandidates, by: float, seed: int) -> ScoredCandidates:
    noise = np.random.default_rng(seed).normal(size=len(one.scores))
    return ScoredCandidates(
        scores=(one.scores + by * noise).astype(np.float32),
        taken=one.taken,
        cases=one.cases,
        n=one.n,
    )


def test_the_auc_loss_is_that_of_the_pooled_candidates():
    exact = candidates(60, 9, 3)
    found = worse(exact, 1.0, 4)
    loss = auc_loss(exact, found, seed=1)
    expected = roc_auc(exact.taken, exact.scores) - roc_auc(found.taken, found.scores)
    assert loss.value == pytest.approx(expected, abs=1e-12)
    assert loss.low < loss.value < loss.high


def test_the_auc_interval_is_that_of_recounting_every_sample():
    """The same draws, each sample's candidates written out and scored by `roc_auc`."""
    from pocketrec_training.metrics.significance import redrawn

    exact = candidates(30, 5, 3)
    found = worse(exact, 0.5, 4)
    samples = []
    for counts in redrawn(30, 9):
        times = counts[exact.cases]
        taken = np.repeat(exact.taken, times)
        a, b = (roc_auc(taken, np.repeat(one.scores, times)) for one in (exact, found))
        samples.append(a - b)
    low, high = np.percentile(samples, [2.5, 97.5])
    loss = auc_loss(exact, found, seed=9)
    assert loss.low == pytest.approx(low)
    assert loss.high == pytest.approx(high)


def test_equal_answers_lose_nothing_and_no_target_is_no_loss():
    exact = candidates(30, 5, 3)
    same = auc_loss(exact, exact, seed=1)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    nothing = ScoredCandidates(
        scores=exact.scores, taken=exact.taken & False, cases=exact.cases, n=30
    )
    none = auc_loss(nothing, exact, seed=1)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_mean_agrees_with_the_paired_bootstrap():
    exact = sparse_ndcg()
    found = np.where(np.random.default_rng(2).random(len(exact)) < 0.1, 0.0, exact)
    low, high = paired_bootstrap((exact - found)[:, None], 3)
    loss = ndcg_loss(np.ones(len(exact)), 1 - (exact - found), seed=3)
    assert loss.low == pytest.approx(low[0], rel=0.1)
    assert loss.high == pytest.approx(high[0], rel=0.1)
