"""Logged slates and the policies to evaluate on them, as arrays.

A request is one slate. Items are integer codes. A policy is the probability of each item at each
place of each request, over its own draws; a policy without exploration has probabilities of 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Floats64 = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedSlates:
    """What was shown and what it earned; one row an impression, except `users`.

    Attributes:
        users: int64 [R], the user of each request.
        request: int64 [n], the request of an impression, 0..R - 1.
        place: int64 [n], from 1.
        item: int64 [n], 0 or more.
        reward: float64 [n], finite; what the impression earned.
        propensity: float64 [n], above 0, at most 1: probability of this item at this place, in
            this request, over the draws of the policy that showed it.
        features: float64 [n, d], of the reward model; d may be 0.
    """

    users: Longs
    request: Longs
    place: Longs
    item: Longs
    reward: Floats64
    propensity: Floats64
    features: Floats64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlatePolicy:
    """What a policy shows in the requests of a log; one row an item that a place may hold.

    Attributes:
        request: int64 [m], of the log.
        place: int64 [m], from 1.
        item: int64 [m], the codes of the log.
        probability: float64 [m], above 0; those of one place of one request sum to 1 at most.
        features: float64 [m, d], as the log's; only a target's are read.
    """

    request: Longs
    place: Longs
    item: Longs
    probability: Floats64
    features: Floats64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedLog:
    """A log with the importance weights of a target policy.

    Attributes:
        users: int64 [R], the user of each request.
        request: int64 [n], the request of each impression.
        reward: float64 [n].
        weight: float64 [n], 0 or more.
        control: float64 [n]; weight * control has the known expectation `expected`.
        group: int64 [n], 0..G - 1, the sum that an impression's control belongs to.
        expected: float64 [R, G].
        features: float64 [n, d], of the logged items; the reward model is linear in them.
        target_features: float64 [R, d], their expectation under the target policy.
        supported: float64 [R], the target's places that the logging policy could fill alike, each
            times its control.
        places: float64 [R], all of the target's places, each times its control.
        support_known: whether `supported` is exact; else it is an upper bound, and the mean weight
            estimates it.
        explored: share of the impressions with a propensity below 1.
    """

    users: Longs
    request: Longs
    reward: Floats64
    weight: Floats64
    control: Floats64
    group: Longs
    expected: Floats64
    features: Floats64
    target_features: Floats64
    supported: Floats64
    places: Floats64
    support_known: bool
    explored: float

    @property
    def n_requests(self) -> int:
        """Number of requests, R."""
        return len(self.users)

    def per_request(self, values: Floats64) -> Floats64:
        """Sum values of impressions, float64 [n], by request, float64 [R]."""
        return sum_by(self.request, values, self.n_requests)


def sum_by(groups: Longs, values: Floats64, n: int) -> Floats64:
    """Return the sum of the values of each group 0..n - 1, float64 [n]."""
    return np.asarray(np.bincount(groups, weights=values, minlength=n), np.float64)
