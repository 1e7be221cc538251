"""Losses of a pair of model files on validation cases, with the paired 95% interval over cases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.metrics.significance import redrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of a sample; low, high: its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidates:
    """Candidates of all cases with their final scores.

    Attributes:
        scores: float32 [m].
        taken: bool [m], whether a candidate is a target of its case.
        cases: int64 [m], the case of each candidate, 0..n-1.
        n: number of cases.
    """

    scores: NDArray[np.float32]
    taken: NDArray[np.bool_]
    cases: NDArray[np.int64]
    n: int


def ndcg_loss(exact: Floats64, found: Floats64, seed: int) -> Estimate:
    """Return the relative loss of mean NDCG against the exact path, with its paired bootstrap.

    Loss = (mean(exact) - mean(found)) / mean(exact); each draw of cases has its own denominator.

    Args:
        exact: NDCG of each case on the exact path, float64 [n].
        found: of the pair, the same cases in the same order.
        seed: of the draws.
    """
    # Sums in numpy, not BLAS: their last digits must not depend on the number of threads.
    draws = redrawn(len(exact), seed)
    of_exact = np.stack([(row * exact).sum() for row in draws])
    of_found = np.stack([(row * found).sum() for row in draws])
    return _estimate(
        float(_share(exact.sum(), found.sum())),
        _share(of_exact, of_found),
    )


def _share(exact: Floats64, found: Floats64) -> Floats64:
    """Return (exact - found) / exact, 0 where there is nothing to lose."""
    none = exact == 0
    return np.where(none, 0.0, (exact - found) / np.where(none, 1.0, exact))


def auc_loss(exact: ScoredCandidates, found: ScoredCandidates, seed: int) -> Estimate:
    """Return AUC(exact) - AUC(found), pooled over all candidates, with its paired bootstrap.

    0 if an AUC is undefined: the candidates are all targets, or none of them is a target.
    """
    draws = np.vstack([np.ones(exact.n), redrawn(exact.n, seed)])  # the first: each case once
    value, *drawn = (_aucs(exact, draws) - _aucs(found, draws)).tolist()
    if np.isnan(value):
        return Estimate(value=0.0, low=0.0, high=0.0)
    losses = np.array(drawn)
    return _estimate(value, losses[~np.isnan(losses)])


def _aucs(scored: ScoredCandidates, draws: Floats64) -> Floats64:
    """Return the pooled AUC of each draw, float64 [draws]; nan where it has none.

    With wins[c, d] = the pairs of a target of case c and another candidate of case d in which the
    target scores higher (a tie: half of one), the AUC of a draw in which case c stands w[c] times
    is sum w[c] wins[c, d] w[d] / (sum w[c] targets[c] * sum w[d] others[d]). So scores are compared
    once, not once a draw. All terms are multiples of .5 below 2^53: their sums are exact.
    """
    targets = np.bincount(scored.cases[scored.taken], minlength=scored.n)
    others = np.bincount(scored.cases[~scored.taken], minlength=scored.n)
    holders = np.flatnonzero(targets)
    place = np.zeros(scored.n, np.int64)
    place[holders] = np.arange(len(holders))
    owners = place[scored.cases[scored.taken]]
    high = scored.scores[scored.taken]
    wins = np.zeros((len(holders), scored.n))
    order = np.lexsort((scored.scores, scored.cases))
    order = order[~scored.taken[order]]
    parts = np.split(scored.scores[order], np.cumsum(others)[:-1])
    for case, part in enumerate(parts):
        beaten = np.searchsorted(part, high, "left") + np.searchsorted(part, high, "right")
        wins[:, case] = np.bincount(owners, beaten / 2, len(holders))
    won = ((draws[:, holders] @ wins) * draws).sum(axis=1)
    pairs = (draws @ targets) * (draws @ others)
    found: Floats64 = np.divide(won, pairs, out=np.full(len(draws), np.nan), where=pairs > 0)
    return found


def _estimate(value: float, drawn: Floats64) -> Estimate:
    if not len(drawn):
        return Estimate(value=value, low=value, high=value)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high))
