"""Compute the targets' ranks, and the list that a user would see, from scores of all items."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics.cases import Cases

BlockScorer = Callable[[list[tuple[int, int]]], NDArray[Any]]
"""Scores all items for some (user, end): float [n, n_items]; -inf for what must not be shown."""

BLOCK = 256
"""Cases scored at a time: bounds the memory to BLOCK rows of all items."""

_FEW = 16
"""Up to so many targets counting the better scores is faster than sorting all of them."""

NOBODY = -1
"""Fills a list that has fewer candidates than items to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedTargets:
    """The results of a method on the cases.

    Attributes:
        ranks: int64, parallel to `Cases.targets`; 0 = best; n_items = not a candidate.
        top: int32 [n, k], the rows shown, best first; NOBODY after the last candidate.
    """

    ranks: NDArray[np.int64]
    top: NDArray[np.int32]


def rank_targets(
    score: BlockScorer, data: Dataset, settings: list[Cases], k: int
) -> list[RankedTargets]:
    """Score the cases of several settings and place their targets; each user is scored once.

    Args:
        score: the method.
        data: gives the histories, which `new_to_user` takes out of the candidates.
        settings: cases of one fold in different settings.
        k: length of the lists kept.
    """
    index = [{pair: i for i, pair in enumerate(cases.pairs)} for cases in settings]
    every = sorted({pair for pairs in index for pair in pairs})
    ranks = [np.zeros(len(cases.targets), np.int64) for cases in settings]
    tops = [np.full((len(cases), k), NOBODY, np.int32) for cases in settings]
    for at in range(0, len(every), BLOCK):
        block = every[at : at + BLOCK]
        scores = np.asarray(score(block))
        for cases, known, found, top in zip(settings, index, ranks, tops, strict=True):
            for pair, line in zip(block, scores, strict=True):
                if (i := known.get(pair)) is None:
                    continue
                row = line
                if cases.setting == "new_to_user":
                    row = line.copy()
                    row[data.history(*pair).rows] = -np.inf
                found[cases.offsets[i] : cases.offsets[i + 1]] = place(row, cases.targets_of(i))
                best = best_rows(row, k)
                top[i, : len(best)] = best
    return [RankedTargets(ranks=p, top=t) for p, t in zip(ranks, tops, strict=True)]


def place(scores: NDArray[Any], targets: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the 0-based rank of each target among all items.

    A tie with another item counts against the method, so a constant score gains nothing.

    >>> place(np.array([3.0, 1.0, 1.0, 2.0]), np.array([1, 3], np.int32))
    array([3, 1])
    """
    wanted = scores[targets]
    if len(targets) <= _FEW:
        at_least = (scores >= wanted[:, None]).sum(1) - (wanted >= wanted[:, None]).sum(1)
        above = at_least.astype(np.int64)
    else:
        others = np.delete(scores, targets)
        others.sort()
        above = len(others) - np.searchsorted(others, wanted, side="left")
    among = np.empty(len(targets), np.int64)
    among[np.argsort(-wanted, kind="stable")] = np.arange(len(targets))
    return np.where(np.isfinite(wanted), above + among, len(scores)).astype(np.int64)


def best_rows(scores: NDArray[Any], k: int) -> NDArray[np.int32]:
    """Return the rows of the `k` best finite scores, best first; ties by row number."""
    k = min(k, int(np.isfinite(scores).sum())) if k else 0
    if not k:
        return np.zeros(0, np.int32)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= least)
    return rows[np.lexsort((rows, -scores[rows]))][:k].astype(np.int32)
