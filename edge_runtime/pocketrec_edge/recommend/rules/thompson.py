"""Exploration that learns: which kind of item to try, by Thompson sampling on the user's feedback.

An arm is a kind of item, a category or a band of a column. Its rate has a Beta
distribution: the release's prior, updated by this user's impressions with and without a following
interaction. An arm is drawn as often as it is the best one (Thompson 1933),
from these probabilities themselves, so that the logged ones are what was drawn from.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.ranker_features import ItemColumns
from pocketrec_edge.events.feedback import Impressions
from pocketrec_edge.recommend.rules.exploration import Draw, Random

Positions = NDArray[np.int64]
BINS = 512
"""Of each posterior. Bins have equal widths in arcsin(sqrt(x)), in which a Beta distribution is as
narrow at 0, where rates are, as in the middle (Bartlett 1936)."""
LEAST = 1e-300
"""A chance below this counts as it, so that its logarithm is finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Impressions on this device: integer [n, K] and float32 [n, M] as the candidates', bool [n].

    followed: whether the user did something with the item before it was shown again.
    """

    categories: NDArray[np.int64]
    numeric: NDArray[np.float32]
    followed: NDArray[np.bool_]


def feedback_of(impressions: Impressions, items: ItemColumns) -> Feedback:
    """Look up the columns of the items that were shown, in the release that their rows are of."""
    return Feedback(
        categories=np.asarray(items.categories[impressions.rows]),
        numeric=np.asarray(items.numeric[impressions.rows]),
        followed=impressions.followed,
    )


def posteriors(
    shown: Positions,
    followed: NDArray[np.bool_],
    arms: Positions,
    alpha: float,
    beta: float,
) -> tuple[Floats64, Floats64]:
    """Return both parameters of each arm's Beta distribution, float64 [len(arms)].

    Args:
        shown: [n], the arm of each impression.
        followed: [n], of the same.
        arms: arms, rising, each once; impressions of others count for none.
        alpha: of the prior, for impressions that were followed.
        beta: of the prior, for the others.
    """
    at = np.searchsorted(arms, shown)
    known = np.append(arms, -1)[at] == shown
    wins = np.bincount(at[known & followed], minlength=len(arms))
    losses = np.bincount(at[known & ~followed], minlength=len(arms))
    return alpha + wins.astype(np.float64), beta + losses.astype(np.float64)


def chances(alphas: Floats64, betas: Floats64) -> Floats64:
    """Return the probability of each arm that it is the best, float64 [n], summing to 1.

    P(i) = sum over bins of pmf_i * product over j != i of (cdf_j - pmf_j / 2): of two arms in one
    bin each is the better as often. Costs n * `BINS`.

    Args:
        alphas: [n], at least 0.5, as the betas.
        betas: [n].
    """
    quarter = np.pi / 2 * (np.arange(BINS) + 0.5) / BINS
    high, low = np.log(np.sin(quarter)), np.log(np.cos(quarter))
    weights = (2 * alphas[:, None] - 1) * high + (2 * betas[:, None] - 1) * low  # dx is sin * cos
    mass = np.exp(weights - weights.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    below = np.log(np.maximum(mass.cumsum(axis=1) - mass / 2, LEAST))
    best = (mass * np.exp(below.sum(axis=0) - below)).sum(axis=1)
    found: Floats64 = best / best.sum()
    return found


def explore_arms(
    k: int,
    arms: Positions,
    alphas: Floats64,
    betas: Floats64,
    epsilon: float,
    first: int,
    rng: Random,
) -> Draw:
    """Draw once.

    Each open place shows another item with probability epsilon, independently; the r-th of those
    that do draws an arm among those with r items, and shows the r-th of its items. So no item comes
    twice, and the draws stay independent. Only the last places are open, as many as the largest arm
    has items, so that there always is one.

    Args:
        k: places of the slate.
        arms: [pool], places in `alphas` of the arms of items outside the slate, best first.
        alphas: [n], of each arm's posterior.
        betas: [n].
        epsilon: 0..1.
        first: the first place, from 1, that may be open.
        rng: the source of randomness.
    """
    other = np.full(k, -1, np.int64)
    propensity = np.ones(k)
    sizes = np.bincount(arms, minlength=len(alphas))
    n_open = min(max(k - first + 1, 0), int(sizes.max(initial=0)))
    explores = rng.random(n_open) < epsilon
    drawn = rng.random(n_open)
    rank = 0
    for at in range(n_open):
        place = k - n_open + at
        if not explores[at]:
            propensity[place] = 1 - epsilon
            continue
        # It is the item of this rank that comes here if so many places before it explore too.
        reached = comb(at, rank) * epsilon ** (rank + 1) * (1 - epsilon) ** (at - rank)
        rank += 1
        able = np.flatnonzero(sizes >= rank)
        odds = chances(alphas[able], betas[able])
        one = min(int(np.searchsorted(odds.cumsum(), drawn[at], side="right")), len(able) - 1)
        other[place] = np.flatnonzero(arms == able[one])[rank - 1]
        propensity[place] = reached * odds[one]
    return Draw(other, propensity)


def arm_place_odds(
    k: int, arms: Positions, alphas: Floats64, betas: Floats64, epsilon: float, first: int
) -> Floats64:
    """Return the probability of each item at each place under `explore_arms`.

    Args:
        k: places of the slate.
        arms: [pool], places in `alphas` of the arms of items outside the slate, best first.
        alphas: [n], of each arm's posterior.
        betas: [n].
        epsilon: 0..1.
        first: the first place, from 1, that may be open.

    Returns:
        float64 [k, 1 + pool]: column 0 is the slate's own item of the place, column 1 + i is item i
        of the pool. Rows sum to 1.
    """
    found = np.zeros((k, 1 + len(arms)))
    found[:, 0] = 1.0
    sizes = np.bincount(arms, minlength=len(alphas))
    n_open = min(max(k - first + 1, 0), int(sizes.max(initial=0)))
    found[k - n_open :, 0] = 1 - epsilon if n_open else 1.0
    for rank in range(n_open):  # the item of this rank in its arm
        able = np.flatnonzero(sizes > rank)
        odds = chances(alphas[able], betas[able])
        items = [np.flatnonzero(arms == arm)[rank] for arm in able]
        for at in range(rank, n_open):
            reached = comb(at, rank) * epsilon ** (rank + 1) * (1 - epsilon) ** (at - rank)
            found[k - n_open + at, 1 + np.array(items)] = reached * odds
    return found
