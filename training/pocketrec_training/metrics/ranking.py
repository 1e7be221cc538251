"""Ranking and classification metrics, in plain numpy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64

_BINS = 10


def at_k(
    ranks: NDArray[np.int64], k: int, offsets: NDArray[np.int64] | None = None
) -> dict[str, Floats64]:
    """Return per-case recall, precision, HR, NDCG and MRR at k.

    recall = hits / number of targets (so a basket of more than k items cannot reach 1);
    NDCG = sum of 1 / log2(place + 2) over hits / the same sum for the best possible order of
    min(k, number of targets) hits; MRR counts the first hit only.

    Args:
        ranks: 0-based ranks of the targets among all candidates.
        k: length of the list.
        offsets: int64 [n + 1]; case i owns ranks[offsets[i]:offsets[i + 1]], at least one.
            None: each case has one target.
    """
    starts = np.arange(len(ranks)) if offsets is None else offsets[:-1]
    sizes = np.ones(len(ranks), int) if offsets is None else np.diff(offsets)
    if not len(starts):
        return {f"{name}@{k}": np.zeros(0) for name in RANKING}
    inside = ranks < k
    hits = np.add.reduceat(inside.astype(np.float64), starts)
    gains = np.add.reduceat(np.where(inside, 1.0 / np.log2(ranks + 2.0), 0.0), starts)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))[np.minimum(sizes, k) - 1]
    first = np.minimum.reduceat(ranks, starts)
    values = (
        hits / sizes,
        hits / k,
        (hits > 0).astype(np.float64),
        gains / ideal,
        np.where(first < k, 1.0 / (first + 1.0), 0.0),
    )
    return {f"{name}@{k}": value for name, value in zip(RANKING, values, strict=True)}


RANKING = ("recall", "precision", "hr", "ndcg", "mrr")
"""Names of what `at_k` returns, in its order."""


def value_ndcg(
    ranks: NDArray[np.int64], gains: Floats64, offsets: NDArray[np.int64], k: int
) -> Floats64:
    """Return NDCG@k of each case with the targets' values as gains, float64 [n].

    NDCG = sum of gain / log2(place + 2) over hits / the same sum for the best possible order; nan
    for a case without value.

    Args:
        ranks: 0-based ranks of the targets among all candidates.
        gains: value of each target, 0 or more.
        offsets: int64 [n + 1]; case i owns ranks[offsets[i]:offsets[i + 1]], at least one.
        k: length of the list.
    """
    if len(offsets) < 2:
        return np.zeros(0)
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    best = np.empty(len(gains), np.int64)  # place of each target if all stood in order of value
    best[np.lexsort((-gains, owners))] = np.arange(len(gains)) - offsets[owners]
    found, ideal = (
        np.bincount(owners, np.where(at < k, gains / np.log2(at + 2.0), 0.0))
        for at in (ranks, best)
    )
    values: Floats64 = np.divide(found, ideal, out=np.full(len(found), np.nan), where=ideal > 0)
    return values


def ndcg_by_list(
    scores: NDArray[Any], labels: NDArray[Any], real: NDArray[np.bool_], k: int = 10
) -> Floats64:
    """NDCG@k of lists, float64 [n]; a list without a positive counts 0.

    Args:
        scores: [n, m].
        labels: [n, m], 1 or 0.
        real: [n, m], False where a list has no item.
        k: number of ranks that count.
    """
    order = np.argsort(-np.where(real, scores, -np.inf), axis=1, kind="stable")
    gains = np.take_along_axis(labels, order, axis=1)[:, :k]
    discount = 1.0 / np.log2(np.arange(gains.shape[1]) + 2.0)
    wanted = np.minimum(labels.sum(1), len(discount)).astype(int)
    found: Floats64 = gains @ discount / np.concatenate([[1.0], np.cumsum(discount)])[wanted]
    return found


def gain_by_list(
    scores: NDArray[Any], gains: NDArray[Any], real: NDArray[np.bool_], k: int = 10
) -> Floats64:
    """DCG@k of lists whose items have gains of any size, in their unit, float64 [n].

    Args:
        scores: [n, m].
        gains: [n, m], 0 or more.
        real: [n, m], False where a list has no item.
        k: number of ranks that count.
    """
    order = np.argsort(-np.where(real, scores, -np.inf), axis=1, kind="stable")
    found = np.take_along_axis(gains, order, axis=1)[:, :k].astype(np.float64)
    values: Floats64 = found @ (1.0 / np.log2(np.arange(found.shape[1]) + 2.0))
    return values


def interval(values: Floats64, seed: int, draws: int = 1000) -> dict[str, float]:
    """Return the mean and its 95% bootstrap interval over cases (Efron 1979, percentile)."""
    return intervals({"": values}, seed, draws)[""]


def intervals(
    values: Mapping[str, Floats64], seed: int, draws: int = 1000
) -> dict[str, dict[str, float]]:
    """Return `interval` of several metrics of the same cases; one draw serves all of them."""
    rng = np.random.default_rng(seed)
    table = np.stack(list(values.values()), axis=1)  # [n, metrics]
    n = len(table)
    means = np.stack(
        [np.bincount(rng.integers(0, n, n), minlength=n) @ table / n for _ in range(draws)]
    )
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return {
        name: {"value": float(each.mean()), "low": float(low[i]), "high": float(high[i])}
        for i, (name, each) in enumerate(values.items())
    }


def roc_auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve by rank sums, ties counted half (Mann and Whitney 1947)."""
    positives = int((labels > 0).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1) + last)[inverse] / 2.0
    total = float(ranks[labels > 0].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def pr_auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Average precision: the step-wise area under precision over recall."""
    order = np.argsort(-scores, kind="stable")
    hits, ordered = np.cumsum(labels[order] > 0), scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    precision, recall = hits[ends] / (ends + 1.0), hits[ends] / hits[-1]
    return float(np.sum(np.diff(np.append(0.0, recall)) * precision))


def f1(labels: NDArray[Any], probabilities: NDArray[Any], threshold: float = 0.5) -> float:
    """F1 of the decision `probability >= threshold`."""
    chosen, true = probabilities >= threshold, labels > 0
    both = float((chosen & true).sum())
    return 2 * both / float(chosen.sum() + true.sum()) if both else 0.0


def log_loss(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Mean negative log likelihood, in nats."""
    safe = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(labels > 0, np.log(safe), np.log1p(-safe))))


def calibration(labels: NDArray[Any], probabilities: NDArray[Any]) -> list[dict[str, float]]:
    """Bins of equal width over [0, 1]: share of cases, mean prediction, observed rate."""
    bins = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    return [
        {
            "share": float((bins == b).mean()),
            "predicted": float(probabilities[bins == b].mean()),
            "observed": float((labels[bins == b] > 0).mean()),
        }
        for b in range(_BINS)
        if (bins == b).any()
    ]


def reliability(
    labels: NDArray[Any], probabilities: NDArray[Any], parts: int = _BINS
) -> list[dict[str, float]]:
    """Return mean prediction and observed rate of `parts` groups of equal size, lowest first.

    A plot of them covers the range that predictions use, which equal widths may put in one bin.

    >>> reliability(np.array([0, 0, 0, 1]), np.array([0.3, 0.1, 0.2, 0.2]), parts=2)
    [{'predicted': 0.15..., 'observed': 0.0}, {'predicted': 0.25, 'observed': 0.5}]
    """
    order = np.argsort(probabilities, kind="stable")
    return [
        {
            "predicted": float(probabilities[group].mean()),
            "observed": float((labels[group] > 0).mean()),
        }
        for group in np.array_split(order, parts)
        if len(group)
    ]


def ece(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Expected calibration error over ten equal-width bins (Guo et al. 2017, eq. 3)."""
    bins = calibration(labels, probabilities)
    return float(sum(b["share"] * abs(b["predicted"] - b["observed"]) for b in bins))
