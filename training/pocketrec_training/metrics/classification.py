"""Classification metrics over lists, with 95% bootstrap intervals in which whole lists are redrawn.

Candidates of one list are not independent, so an interval over candidates would be too narrow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.metrics.significance import redrawn

DRAWS = 200
"""Bootstrap samples; a million candidates then take about a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Candidates of all lists, with the probability of one head.

    Attributes:
        taken: bool [m], whether the candidate is positive.
        probabilities: float [m].
        chosen: bool [m], whether the probability reaches the threshold; None: there is none.
        owners: int64 [m], the list of each candidate, 0..n-1.
        n: number of lists.
    """

    taken: NDArray[np.bool_]
    probabilities: NDArray[Any]
    chosen: NDArray[np.bool_] | None
    owners: NDArray[np.int64]
    n: int


def best_threshold(taken: NDArray[np.bool_], probabilities: NDArray[Any]) -> float | None:
    """Return the threshold with the highest F1 of `probability >= threshold`.

    None without a positive: every threshold then has F1 0.

    >>> best_threshold(np.array([False, True, False, True]), np.array([0.01, 0.02, 0.03, 0.04]))
    0.02
    """
    order = np.argsort(-probabilities, kind="stable")
    hits, ordered = np.cumsum(taken[order]), probabilities[order]
    if not len(hits) or not hits[-1]:
        return None
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    values = 2.0 * hits[ends] / (ends + 1.0 + hits[-1])
    return float(ordered[ends[np.argmax(values)]])


def classification(judged: Judged, seed: int, draws: int = DRAWS) -> dict[str, dict[str, float]]:
    """Return value, low and high of roc_auc, pr_auc, log_loss and, with a threshold, f1.

    Args:
        judged: candidates with both outcomes.
        seed: of the bootstrap.
        draws: bootstrap samples; one without both outcomes has no area and is left out.
    """
    weights = np.vstack([np.ones(judged.n), redrawn(judged.n, seed, draws)])  # first: as it is
    roc, pr = areas(judged, weights)
    losses = _sums(judged, _losses(judged))
    counts = _sums(judged, np.ones(len(judged.taken)))
    found = {
        "roc_auc": _estimate(roc),
        "pr_auc": _estimate(pr),
        "log_loss": _estimate(_ratio(weights @ losses, weights @ counts)),
    }
    if judged.chosen is not None:
        hits = _sums(judged, judged.chosen & judged.taken)
        both = _sums(judged, judged.chosen) + _sums(judged, judged.taken)
        found["f1"] = _estimate(_ratio(2.0 * (weights @ hits), weights @ both))
    return found


def areas(judged: Judged, weights: Floats64) -> tuple[Floats64, Floats64]:
    """Return ROC-AUC and average precision of each draw, float64 [draws]; nan without both classes.

    Both change only at scores that a positive has. So a draw adds up the candidates between two
    such scores, and nothing is sorted again. Ties count half in ROC-AUC.

    Args:
        judged: the candidates.
        weights: float64 [draws, n], how often each list stands in a draw.
    """
    order = np.argsort(-judged.probabilities, kind="stable")
    taken, owners = judged.taken[order], judged.owners[order]
    firsts = np.flatnonzero(np.append(True, np.diff(judged.probabilities[order]) != 0))
    ends = np.append(firsts[1:], len(order))
    groups = np.flatnonzero(np.add.reduceat(taken.astype(np.int64), firsts))
    firsts, ends = firsts[groups], ends[groups]  # of equal scores, one of them a positive's
    cuts = np.unique(np.concatenate([[0], firsts, ends]))
    cuts = cuts[cuts < len(order)]
    before, until = np.searchsorted(cuts, firsts), np.searchsorted(cuts, ends)
    group_of = np.searchsorted(ends, np.flatnonzero(taken), side="right")
    holders = owners[taken]
    roc, pr = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    for draw, weight in enumerate(weights):
        above = np.append(0.0, np.cumsum(np.add.reduceat(weight[owners], cuts)))
        positive = np.bincount(group_of, weight[holders], len(groups)).astype(np.float64)
        reached = np.cumsum(positive)
        all_positive = reached[-1] if len(reached) else 0.0
        all_negative = above[-1] - all_positive
        if all_positive <= 0 or all_negative <= 0:
            continue
        tied = above[until] - above[before] - positive
        below = all_negative - (above[until] - reached)
        roc[draw] = positive @ (below + tied / 2.0) / (all_positive * all_negative)
        pr[draw] = _ratio(positive * reached, above[until]).sum() / all_positive
    return roc, pr


def _losses(judged: Judged) -> Floats64:
    safe = np.clip(judged.probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return -np.where(judged.taken, np.log(safe), np.log1p(-safe))


def _sums(judged: Judged, values: NDArray[Any]) -> Floats64:
    """Add up the values of each list, float64 [n]."""
    return np.bincount(judged.owners, values, judged.n).astype(np.float64)


def _ratio(above: Floats64, below: Floats64) -> Floats64:
    found: Floats64 = np.divide(above, below, out=np.zeros(len(above)), where=below > 0)
    return found


def _estimate(values: Floats64) -> dict[str, float]:
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return {"value": value, "low": value, "high": value}
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}
