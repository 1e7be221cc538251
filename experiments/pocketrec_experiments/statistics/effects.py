"""Effect of a treatment from sums: means, ratios by the delta method, CUPED.

Ratios: var(Y/X) = (var Y - 2 r cov(Y, X) + r^2 var X) / mean(X)^2 with r = mean Y / mean X (Deng,
Knoblich, Lu 2018, "Applying the Delta Method in Metric Analytics", sec. 3.1). CUPED: subtract theta
times the covariate's deviation, theta = cov / var over both arms (Deng, Xu, Kohavi, Walker 2013,
sec. 3.2). Tests compare the figures with tea-tasting's.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from pocketrec_experiments.statistics.sums import Sums

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A metric: the mean of a quantity, or the ratio of two means, adjusted by a covariate.

    Attributes:
        numerator: quantity of a user.
        denominator: quantity below it; None: one per user.
        past: numerator's covariate from before the exposure; None: no CUPED.
        past_denominator: denominator's covariate; None: one per user.
    """

    numerator: str
    denominator: str | None = None
    past: str | None = None
    past_denominator: str | None = None

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names that the sums must have."""
        given = (self.numerator, self.denominator, self.past, self.past_denominator)
        return tuple(name for name in given if name is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Treatment against control. Figures that the data cannot give are NaN.

    Attributes:
        control: metric of the control, adjusted if there is a covariate.
        treatment: metric of the treatment, adjusted likewise.
        difference: treatment - control.
        se: standard error of the difference.
        low: lower end of the interval of the difference.
        high: upper end.
        relative: difference / control.
        relative_low: lower end of the interval of `relative`, from the logarithm of the ratio.
        relative_high: upper end.
        p: two-sided, from the normal distribution, for one look at the data.
    """

    control: float
    treatment: float
    difference: float
    se: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p: float

    @property
    def z(self) -> float:
        """Return difference / se; 0 where there is no variation and no difference."""
        if self.se > 0:
            return self.difference / self.se
        return 0.0 if self.difference == 0 else math.nan


def effect(
    control: Sums, treatment: Sums, metric: Ratio, *, alpha: float = 0.05, critical: float = 0.0
) -> Effect:
    """Compare two arms.

    Args:
        control: sums of the control's users.
        treatment: sums of the treatment's users.
        metric: what is compared.
        alpha: 1 - coverage of the intervals for one look.
        critical: half-width of the intervals in standard errors, such as a sequential bound; 0:
            the normal quantile of alpha.
    """
    c, vc, t, vt = estimate(control, treatment, metric)
    se = math.sqrt(max(vc + vt, 0.0)) if math.isfinite(vc + vt) else math.nan
    width = critical or _NORMAL.inv_cdf(1 - alpha / 2)
    ratio, factor = math.nan, math.nan
    if c > 0 and t > 0 and math.isfinite(se):
        ratio = t / c
        factor = _exp(width * math.sqrt(max(vc / c**2 + vt / t**2, 0.0)))
    found = Effect(
        control=c,
        treatment=t,
        difference=t - c,
        se=se,
        low=t - c - width * se,
        high=t - c + width * se,
        relative=(t - c) / c if c else math.nan,
        relative_low=ratio / factor - 1,
        relative_high=ratio * factor - 1,
        p=math.nan,
    )
    z = found.z
    p = math.erfc(abs(z) / math.sqrt(2)) if math.isfinite(z) else math.nan
    return Effect(**{name: getattr(found, name) for name in _NAMES} | {"p": p})


_NAMES = tuple(Effect.__dataclass_fields__)


def estimate(control: Sums, treatment: Sums, metric: Ratio) -> tuple[float, float, float, float]:
    """Return the metric of control, its variance, that of treatment, its variance.

    The variances are those of the estimates, not of one user. NaN where an arm has too few users.
    """
    theta, centre = _adjustment(control + treatment, metric)
    c = _adjusted_mean(control, metric, theta, centre)
    t = _adjusted_mean(treatment, metric, theta, centre)
    vc = _adjusted_variance(control, metric, theta) / control.n if control.n else math.nan
    vt = _adjusted_variance(treatment, metric, theta) / treatment.n if treatment.n else math.nan
    return c, vc, t, vt


def variance(sums: Sums, metric: Ratio) -> float:
    """Return the variance of the metric for one user, with theta of the same sums."""
    theta, _ = _adjustment(sums, metric)
    return _adjusted_variance(sums, metric, theta)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _quotient(above: float, below: float) -> float:
    return above / below if below else math.nan


def _mean(sums: Sums, above: str | None, below: str | None) -> float:
    return _quotient(sums.mean(above), sums.mean(below))


def _covariance(
    sums: Sums, left: tuple[str | None, str | None], right: tuple[str | None, str | None]
) -> float:
    """Covariance of two ratios, linearised around their means."""
    rl, rr = _mean(sums, *left), _mean(sums, *right)
    centred = (
        sums.covariance(left[0], right[0])
        - sums.covariance(left[0], right[1]) * rr
        - sums.covariance(left[1], right[0]) * rl
        + sums.covariance(left[1], right[1]) * rl * rr
    )
    return _quotient(centred, sums.mean(left[1]) * sums.mean(right[1]))


def _parts(metric: Ratio) -> tuple[tuple[str, str | None], tuple[str | None, str | None]]:
    return (metric.numerator, metric.denominator), (metric.past, metric.past_denominator)


def _adjustment(sums: Sums, metric: Ratio) -> tuple[float, float]:
    """Theta and the covariate's mean; (0, 0) without a covariate that varies."""
    value, past = _parts(metric)
    if metric.past is None or sums.n < 2:
        return 0.0, 0.0
    spread, centre = _covariance(sums, past, past), _mean(sums, *past)
    if not spread > 0 or not math.isfinite(centre):
        return 0.0, 0.0
    return _covariance(sums, value, past) / spread, centre


def _adjusted_mean(sums: Sums, metric: Ratio, theta: float, centre: float) -> float:
    value, past = _parts(metric)
    plain = _mean(sums, *value)
    return plain - theta * (_mean(sums, *past) - centre) if theta else plain


def _adjusted_variance(sums: Sums, metric: Ratio, theta: float) -> float:
    value, past = _parts(metric)
    plain = _covariance(sums, value, value)
    if not theta:
        return plain
    return (
        plain
        + theta**2 * _covariance(sums, past, past)
        - 2 * theta * _covariance(sums, value, past)
    )
