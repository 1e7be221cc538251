"""Which pictures the page shows, with captions that say how to read them."""

from dataclasses import dataclass

from markupsafe import Markup

from pocketrec_experiments.analysis.compare.fixed import Outcome
from pocketrec_experiments.analysis.compare.looks import Look
from pocketrec_experiments.analysis.page.axes import Labels
from pocketrec_experiments.analysis.page.charts import (
    Band,
    Interval,
    Line,
    interval_chart,
    line_chart,
)
from pocketrec_experiments.analysis.report import Comparison, ExperimentReport
from pocketrec_experiments.statistics.metrics import METRICS, Metric

STYLES = ("rival", "model", "second", "other", "other", "other", "other", "other")
WIDEST = 3.0
"""A relative interval is drawn up to this; in early days it can be endless."""
Z_LIMIT = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart under its heading, with the sentence below it."""

    title: str
    caption: str
    drawn: Markup


def pictures(report: ExperimentReport) -> list[Picture]:
    """Return the pictures in reading order; those without data are left out."""
    metric = METRICS[report.settings.metric]
    made = []
    for each in report.comparisons:
        made += _effects(each)
        made += _days(each, metric)
        made += _bounds(each, metric)
    made += _curves(report, metric)
    for each in report.comparisons:
        made += _novelty(each, metric)
    return made


def _effects(one: Comparison) -> list[Picture]:
    rows = [
        Interval(
            name=METRICS[o.metric].title,
            value=o.relative,
            low=max(o.relative_low, -1.0),
            high=min(o.relative_high, WIDEST),
            style=tone(o),
        )
        for o in one.outcomes
        if o.relative is not None and o.relative_low is not None and o.relative_high is not None
    ]
    if not rows:
        return []
    title = f"{one.arm} against control"
    told = ", ".join(f"{row.name} {row.value:+.1%}" for row in rows)
    labels = Labels(
        name=f"effects-{one.arm}",
        title=title,
        description=f"Relative difference: {told}.",
        x="relative difference",
        percent=True,
    )
    return [
        Picture(
            title=title,
            caption="Lines are intervals for one look at the end. Green is better, red is worse"
            " beyond chance, after correction for the number of metrics.",
            drawn=interval_chart(labels, rows),
        )
    ]


def tone(outcome: Outcome, alpha: float = 0.05) -> str:
    """Return the class of an outcome: "good", "bad" or "unsure"."""
    higher = METRICS[outcome.metric].is_higher_better
    if outcome.p_holm > alpha or higher is None:
        return "unsure"
    return "good" if (outcome.treatment > outcome.control) == higher else "bad"


def _days(one: Comparison, metric: Metric) -> list[Picture]:
    if not one.looks:
        return []
    last = one.looks[-1].effect
    title = f"{metric.title} of {one.arm}, day by day"
    labels = Labels(
        name=f"days-{one.arm}",
        title=title,
        description=f"Relative difference after day {one.looks[-1].day}: {last.relative:+.1%}, from"
        f" {last.relative_low:+.1%} to {last.relative_high:+.1%}.",
        x="day",
        y="relative difference",
        percent=True,
    )
    band = Band(
        points=[
            (float(look.day), max(low, -1.0), min(high, WIDEST))
            for look in one.looks
            for low, high in [_relative(look)]
        ]
    )
    line = Line(
        name=one.arm, points=[(float(look.day), look.effect.relative) for look in one.looks]
    )
    settled = [_relative(look) for look in one.looks[len(one.looks) // 2 :]]
    low, high = min(low for low, _ in settled), max(high for _, high in settled)
    room = 0.2 * (min(high, WIDEST) - max(low, -1.0))
    limits = min(max(low, -1.0) - room, 0.0), max(min(high, WIDEST) + room, 0.0)
    return [
        Picture(
            title=title,
            caption="The band is valid for all days together, however often you look. A verdict"
            " needs a band without 0.",
            drawn=line_chart(labels, [line], band, limits=limits, zero=True),
        )
    ]


def _relative(look: Look) -> tuple[float, float]:
    e = look.effect
    ends = (e.low / abs(e.control), e.high / abs(e.control)) if e.control else (-1.0, WIDEST)
    return ends[0], ends[1]


def _bounds(one: Comparison, metric: Metric) -> list[Picture]:
    if not one.looks:
        return []
    last = one.looks[-1]
    title = f"Test statistic of {one.arm} and its bounds"
    labels = Labels(
        name=f"bounds-{one.arm}",
        title=title,
        description=f"z of {metric.title.lower()} is {last.effect.z:+.2f} on day {last.day}; the"
        f" bound is {last.bound:.2f}.",
        x="day",
        y="standard errors",
    )
    days = [float(look.day) for look in one.looks]
    bounds = [look.bound for look in one.looks]
    upper = [(day, min(bound, Z_LIMIT)) for day, bound in zip(days, bounds, strict=True)]
    lines = [
        Line(name="z", points=[(float(look.day), look.effect.z) for look in one.looks]),
        Line(name="bounds", points=upper, style="second"),
        Line(name="lower bound", points=[(day, -bound) for day, bound in upper], style="guide"),
    ]
    return [
        Picture(
            title=title,
            caption="O'Brien-Fleming-like bounds: high in the first days, near 2 at the end. z"
            " beyond a bound is a verdict, unless late events change earlier days.",
            drawn=line_chart(labels, lines, limits=(-Z_LIMIT, Z_LIMIT), zero=True),
        )
    ]


def _curves(report: ExperimentReport, metric: Metric) -> list[Picture]:
    lines = []
    for (arm, values), style in zip(report.curves.items(), STYLES, strict=False):
        points = [(float(day), v) for day, v in enumerate(values, 1) if v is not None]
        if points:
            lines.append(Line(name=arm, points=points, style=style))
    if len(lines) < 2:
        return []
    title = f"{metric.title} since the start"
    told = ", ".join(f"{line.name} {_written(metric, line.points[-1][1])}" for line in lines)
    labels = Labels(
        name="curves",
        title=title,
        description=f"On the last day: {told}.",
        x="day",
        y=metric.title.lower(),
        percent=metric.form == "share",
    )
    return [
        Picture(
            title=title,
            caption=f"All events up to each day, not adjusted. On the last day: {told}.",
            drawn=line_chart(labels, lines),
        )
    ]


def _written(metric: Metric, value: float) -> str:
    return f"{value:.2%}" if metric.form == "share" else f"{value:.4g}"


def _novelty(one: Comparison, metric: Metric) -> list[Picture]:
    days = one.novelty.days
    if len(days) < 2:
        return []
    title = f"{metric.title} of {one.arm} by days since exposure"
    trend = one.novelty.trend_z
    told = (
        "Too few days for a trend."
        if trend is None
        else f"Trend: z = {round(trend, 1) + 0.0:+.1f}."
    )
    labels = Labels(
        name=f"novelty-{one.arm}",
        title=title,
        description=f"Difference on day 0: {_written(metric, days[0].effect.difference)}, on day"
        f" {days[-1].since}: {_written(metric, days[-1].effect.difference)}. {told}",
        x="days since a user's first exposure",
        y="difference",
        percent=metric.form == "share",
    )
    band = Band(points=[(float(d.since), d.effect.low, d.effect.high) for d in days])
    line = Line(name=one.arm, points=[(float(d.since), d.effect.difference) for d in days])
    return [
        Picture(
            title=title,
            caption=f"{told} A novelty effect is large on the first days and fades.",
            drawn=line_chart(labels, [line], band, zero=True),
        )
    ]
