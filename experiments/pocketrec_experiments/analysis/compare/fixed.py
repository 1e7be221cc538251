"""The tests for one look at the end, by tea-tasting: all metrics of the report, each treatment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import tea_tasting as tt
from tea_tasting.aggr import Aggregates

from pocketrec_experiments.statistics import Sums, holm
from pocketrec_experiments.statistics.metrics import PAST, Metric

ROUNDING = 1e-9
"""A smaller variance of a ratio, relative to those of its parts, is an error of rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A metric of a treatment against control, as if this were the only look.

    Attributes:
        metric: name.
        control: of the control arm; adjusted by CUPED if `cuped`.
        treatment: of the treatment arm.
        relative: (treatment - control) / control; None without a control above 0.
        relative_low: lower end of the interval.
        relative_high: upper end of the interval.
        low: lower end of the interval of the absolute difference.
        high: upper end.
        p: two-sided.
        p_holm: adjusted for the number of metrics in the same table.
        cuped: whether the users' past was used.
    """

    metric: str
    control: float
    treatment: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    low: float
    high: float
    p: float
    p_holm: float
    cuped: bool


def outcomes(
    totals: Any, metrics: Sequence[Metric], control: str, treatment: str, *, alpha: float
) -> list[Outcome]:
    """Test the metrics of one treatment; those without data are left out.

    A metric that is 0 in one arm stays: it has an absolute difference, and no relative one if it is
    0 in control.

    Args:
        totals: a row a user, with `arm` and the quantities.
        metrics: of the report.
        control: name of the arm.
        treatment: name of the arm.
        alpha: 1 - coverage of the intervals.
    """
    pair = totals.filter(totals.arm.isin([control, treatment]))
    usable = {m.name: m for m in metrics}
    sums = _sums(pair, list(usable.values()))
    asked, adjusted = {}, {}
    for name, m in usable.items():
        rows = [sums.get(arm) for arm in (control, treatment)]
        there = [row for row in rows if row is not None and _has_data(row, m)]
        if len(there) < 2 or not any(_varies(row, m) for row in there):
            continue
        adjusted[name] = m.has_past and _has_past([row for row in rows if row], m)
        asked[name] = _test(m, cuped=adjusted[name], alpha=alpha)
    if not asked:
        return []
    result = tt.Experiment(asked, "arm").analyze(pair, control=control)
    return _outcomes({name: result[name] for name in asked}, adjusted)


def outcomes_of_sums(
    control: Mapping[str, Sums],
    treatment: Mapping[str, Sums],
    metrics: Sequence[Metric],
    *,
    alpha: float,
    cuped: bool,
) -> list[Outcome]:
    """Test the metrics of one treatment on sums over users; see `outcomes`.

    Args:
        control: sums of the arm, by metric.
        treatment: likewise.
        metrics: of the report.
        alpha: 1 - coverage of the intervals.
        cuped: whether the sums have the users' past.
    """
    found, adjusted = {}, {}
    for m in metrics:
        pair = control[m.name], treatment[m.name]
        rows = [_row(sums) for sums in pair]
        if not all(_has_data(row, m) for row in rows) or not any(_varies(row, m) for row in rows):
            continue
        adjusted[m.name] = cuped and m.has_past and _has_past(rows, m)
        arms = dict(zip(("control", "treatment"), map(_aggregates, pair), strict=True))
        test = _test(m, cuped=adjusted[m.name], alpha=alpha)
        found[m.name] = test.analyze(arms, "control", "treatment")
    return _outcomes(found, adjusted)


def _row(sums: Sums) -> dict[str, float]:
    row = {"n": float(sums.n)}
    for name, total in zip(sums.names, sums.totals, strict=True):
        row |= {name: float(total), f"var_{name}": sums.covariance(name, name)}
    return row | {_cov(*pair): sums.covariance(*pair) for pair in combinations(sums.names, 2)}


def _aggregates(sums: Sums) -> Any:
    return Aggregates(
        count_=sums.n,
        mean_={name: sums.mean(name) for name in sums.names},
        var_={name: sums.covariance(name, name) for name in sums.names},
        cov_={pair: sums.covariance(*pair) for pair in combinations(sums.names, 2)},
    )


def _outcomes(found: dict[str, Any], adjusted: dict[str, bool]) -> list[Outcome]:
    sound = {name: one for name, one in found.items() if math.isfinite(one.pvalue)}
    corrected = dict(zip(sound, holm([one.pvalue for one in sound.values()]), strict=True))
    return [
        Outcome(
            metric=name,
            control=float(one.control),
            treatment=float(one.treatment),
            relative=_finite(one.rel_effect_size),
            relative_low=_finite(one.rel_effect_size_ci_lower),
            relative_high=_finite(one.rel_effect_size_ci_upper),
            low=float(one.effect_size_ci_lower),
            high=float(one.effect_size_ci_upper),
            p=float(one.pvalue),
            p_holm=corrected[name],
            cuped=adjusted[name],
        )
        for name, one in sound.items()
    ]


def _test(metric: Metric, *, cuped: bool, alpha: float) -> Any:
    ratio = metric.ratio(cuped=cuped)
    return tt.RatioOfMeans(
        ratio.numerator,
        ratio.denominator,
        ratio.past,
        ratio.past_denominator,
        confidence_level=1 - alpha,
        equal_var=False,
        use_t=True,
    )


def _sums(pair: Any, metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    names = sorted({name for m in metrics for name in m.ratio(cuped=True).quantities})
    both = {(m.numerator, m.denominator) for m in metrics if m.denominator is not None}
    found = pair.group_by("arm").aggregate(
        n=pair.count(),
        **{name: pair[name].sum() for name in names},
        **{f"var_{name}": pair[name].var() for name in names},
        **{_cov(a, b): pair[a].cov(pair[b]) for a, b in sorted(both)},
    )
    return {str(row["arm"]): row for row in found.to_pyarrow().to_pylist()}


def _cov(a: str, b: str) -> str:
    return f"cov_{min(a, b)}_{max(a, b)}"


def _has_data(row: dict[str, float], metric: Metric) -> bool:
    """Two users, a denominator, and some variation unless the metric is 0."""
    below = metric.denominator
    known = (row[f"var_{metric.numerator}"] or 0) > 0 or row[metric.numerator] == 0
    return row["n"] >= 2 and (below is None or row[below] > 0) and known


def _varies(row: dict[str, float], metric: Metric) -> bool:
    """Return whether the metric differs between users, beyond the rounding of sums.

    Slates of one size make a ratio such as impressions a session equal for all users, although both
    quantities vary: the delta method's variance is then 0, or slightly below it.
    """
    a, b = metric.numerator, metric.denominator
    above = row[f"var_{a}"] or 0.0
    if b is None or not row[b]:
        return above > 0 and row[a] != 0
    ratio = row[a] / row[b]
    below = ratio**2 * (row[f"var_{b}"] or 0.0)
    spread = above + below - 2 * ratio * (row[_cov(a, b)] or 0.0)
    return row[a] != 0 and spread > ROUNDING * (above + below)


def _has_past(rows: Sequence[dict[str, float]], metric: Metric) -> bool:
    above = PAST + metric.numerator
    below = None if metric.denominator is None else PAST + metric.denominator
    there = below is None or all(row[below] > 0 for row in rows)
    return there and any((row[f"var_{above}"] or 0) > 0 for row in rows)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
