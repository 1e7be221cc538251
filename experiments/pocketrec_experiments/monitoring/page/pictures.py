"""Which pictures the page shows, with captions that say how to read them."""

from collections.abc import Iterator

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.page.axes import Labels
from pocketrec_experiments.analysis.page.charts import Line, line_chart
from pocketrec_experiments.analysis.page.pictures import STYLES, Picture
from pocketrec_experiments.monitoring.drift import Drift
from pocketrec_experiments.monitoring.page.bars import bars
from pocketrec_experiments.monitoring.report import MonitorReport
from pocketrec_experiments.monitoring.words import day, title_of

MOST_LINES = 4
"""Releases with a line of their own; the page has the others in a table."""
_STYLES = ("model", *(style for style in STYLES if style != "model"))


def pictures(report: MonitorReport) -> list[Picture]:
    """Return the pictures in reading order; those without data are left out."""
    drifts = [_drift(n, each) for n, each in enumerate(report.drifts, 1) if each.psi is not None]
    return [*_adoption(report), *_calibration(report), *drifts]


def _adoption(report: MonitorReport) -> Iterator[Picture]:
    adopted = report.adoption
    if len(adopted.days) < 2:
        return
    totals = [sum(users[n] for users in adopted.users.values()) for n in range(len(adopted.days))]
    known = [each for each in report.releases if each.release in adopted.users][:MOST_LINES]
    first = adopted.days[0]
    lines = [
        Line(
            name=each.name or each.release[:8],
            points=[
                (float(number - first + 1), users / total if total else 0.0)
                for number, users, total in zip(
                    adopted.days, adopted.users[each.release], totals, strict=True
                )
            ],
            style=style,
        )
        for each, style in zip(known, _STYLES, strict=False)
    ]
    told = ", ".join(
        f"{title_of(each)} {line.points[-1][1]:.1%}"
        for each, line in zip(known, lines, strict=True)
    )
    labels = Labels(
        name="adoption",
        title="Users by release",
        description=f"Shares on the last day: {told}.",
        x=f"day, 1 is {day(first * DAY_S)}",
        y="share of users",
        percent=True,
    )
    yield Picture(
        title="Users by release",
        caption="Users with a slate on the day, by the release of their last slate. Last day: "
        f"{told}.",
        drawn=line_chart(labels, lines, limits=(0.0, 1.0)),
    )


def _calibration(report: MonitorReport) -> Iterator[Picture]:
    found = report.calibration
    if found is None or len(found.tenths) < 2:
        return
    clicked = [(float(n), each.click_share) for n, each in enumerate(found.tenths, 1)]
    lines = [Line(name="clicked", points=clicked)]
    if found.error is not None:
        scored = [(float(n), each.score) for n, each in enumerate(found.tenths, 1)]
        lines.append(Line(name="mean score", points=scored, style="rival"))
    caption = "Impressions in ten equal groups, the lowest scores first. The line rises if scores"
    labels = Labels(
        name="calibration",
        title="Click share by score",
        description=f"From {clicked[0][1]:.1%} in the lowest to {clicked[-1][1]:.1%} in the highest"
        " tenth.",
        x="tenth of the score",
        y="click share",
        percent=True,
    )
    yield Picture(
        title="Click share by score",
        caption=f"{caption} order items as users do.",
        drawn=line_chart(labels, lines, zero=True),
    )


def _drift(n: int, drift: Drift) -> Picture:
    title = f"Drift of {drift.what}: {drift.state}"
    pairs = zip(drift.bins, drift.shares_expected(), drift.shares_found(), strict=True)
    told = f"PSI {drift.psi:.3f}. Largest change, {drift.largest_change()}."
    labels = Labels(name=f"drift-{n}", title=title, description=told, x=drift.what, percent=True)
    return Picture(title=title, caption=told, drawn=bars(labels, list(pairs)))
