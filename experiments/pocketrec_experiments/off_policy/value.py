"""The value of a policy on a log of another one, or the reason why the log cannot tell it."""

import math
from dataclasses import dataclass

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.errors import PolicyValueRefusedError
from pocketrec_experiments.off_policy.estimators import (
    Estimate,
    clipped,
    difference,
    doubly_robust,
    effective_sample_size,
    ips,
    logged_value,
    mean_of_requests,
    snips,
)
from pocketrec_experiments.off_policy.logged import WeightedLog

WRONG_BY = 5.0
"""Standard errors by which the mean weight may differ from the supported share. By chance it
differs by more in one of a million logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a value is refused, and whether weights are clipped.

    Attributes:
        unsupported: share of the target's places that the logging policy may be unable to show,
            0..1. Their reward counts as 0 in IPS.
        effective: minimum effective sample size, in impressions. Intervals of IPS at 110 covered
            the truth in 87% of simulated logs in place of 95%; `pocketrec bench off-policy` has
            figures above the limit.
        clip: largest weight; None: no weight is clipped.
    """

    unsupported: float = 0.05
    effective: float = 200.0
    clip: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """Estimates of a target's reward a request, and how far to trust them.

    Attributes:
        requests: number of requests, R.
        users: number of users.
        impressions: number of logged impressions.
        logged: reward a request of the policy that showed the slates.
        ips: inverse propensity scoring.
        snips: self-normalised IPS.
        dr: doubly robust; the estimate to use.
        gain: dr - logged, paired by request.
        effective: effective sample size in impressions, before clipping.
        explored: share of the impressions with a propensity below 1.
        supported: share of the target's places that the logging policy could fill alike.
        support_known: whether `supported` is exact; else it is the most that the log allows.
        mean_weight: of the target's places; its expectation is the supported share.
        largest_weight: before clipping.
        clipped: share of the impressions whose weight was clipped.
    """

    requests: int
    users: int
    impressions: int
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate
    gain: Estimate
    effective: float
    explored: float
    supported: float
    support_known: bool
    mean_weight: Estimate
    largest_weight: float
    clipped: float


def evaluate(log: WeightedLog, limits: Limits | None = None) -> PolicyValue:
    """Estimate the reward a request of the target policy.

    Raises:
        InputError: a limit is out of its range.
        PolicyValueRefusedError: the log has no request or no exploration, the target shows what
            the logging policy could not, the effective sample size is too small, or the
            propensities cannot be those of this log.
    """
    limits = limits or Limits()
    if not 0 <= limits.unsupported <= 1 or not limits.effective >= 0:
        raise InputError(
            f"limits: unsupported {limits.unsupported}, effective {limits.effective}; expected "
            "0..1 and 0 or more."
        )
    places = float(log.places.sum())
    if not len(log.request) or not places:
        raise PolicyValueRefusedError(
            "the log has no slate to evaluate the policy on: "
            f"{log.n_requests} requests, {len(log.request)} impressions, {places:g} places of the "
            "target.",
            code="no_slates",
        )
    supported = float(log.supported.sum()) / places
    mean_weight = mean_of_requests(
        log.users, log.per_request(log.weight * log.control) * log.n_requests / places
    )
    effective = effective_sample_size(log)
    _refuse(log, limits, supported, mean_weight, effective)
    largest, share = float(log.weight.max()), 0.0
    used = log
    if limits.clip is not None:
        used, share = clipped(log, limits.clip), float((log.weight > limits.clip).mean())
    return PolicyValue(
        requests=log.n_requests,
        users=len(np.unique(log.users)),
        impressions=len(log.request),
        logged=logged_value(log),
        ips=ips(used),
        snips=snips(used),
        dr=doubly_robust(used),
        gain=difference(used, "dr"),
        effective=effective,
        explored=log.explored,
        supported=supported,
        support_known=log.support_known,
        mean_weight=mean_weight,
        largest_weight=largest,
        clipped=share,
    )


def _refuse(
    log: WeightedLog,
    limits: Limits,
    supported: float,
    mean_weight: Estimate,
    effective: float,
) -> None:
    same = bool(np.allclose(log.weight, 1.0)) and supported > 1 - 1e-9
    if not log.explored and not same:
        raise PolicyValueRefusedError(
            "no impression was explored: all propensities are 1, so nothing is known about other "
            "slates. Publish a release with rerank.explore above 0 and wait for its events.",
            code="no_exploration",
        )
    least = 1 - limits.unsupported
    if supported < least - 1e-9:
        word = "" if log.support_known else "at most "
        raise PolicyValueRefusedError(
            f"no support: the logging policy could fill {word}{supported:.1%} of the target's "
            f"places as the target does; expected {least:.1%} or more. Explore more places or a "
            "larger pool, choose a target nearer to the logged release, or allow more with "
            "--unsupported.",
            code="no_support",
        )
    if not log.support_known and mean_weight.high < least:
        raise PolicyValueRefusedError(
            f"no support: by its weights the log supports {mean_weight.value:.1%} of the target's "
            f"places (95% interval up to {mean_weight.high:.1%}); expected {least:.1%} or more.",
            code="no_support",
        )
    off = mean_weight.value - supported
    if (
        math.isfinite(mean_weight.se)
        and (abs(off) if log.support_known else off) > WRONG_BY * mean_weight.se + 1e-6
    ):
        raise PolicyValueRefusedError(
            f"wrong propensities: the mean weight is {mean_weight.value:.3f} and should be "
            f"{supported:.3f}, the supported share. The logged propensities are not those of the "
            "policy that showed these slates.",
            code="wrong_propensities",
        )
    if effective < limits.effective:
        raise PolicyValueRefusedError(
            f"too few: the {len(log.request):,} impressions weigh as many as {effective:.0f} that "
            f"the target had shown; expected {limits.effective:g} or more (--effective). Wait for "
            "more events, or explore more.",
            code="few_effective",
        )
