"""Tables of the page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.compare.fixed import Outcome
from pocketrec_experiments.analysis.page.pictures import tone
from pocketrec_experiments.analysis.report import Comparison, ExperimentReport
from pocketrec_experiments.analysis.verdict import shown
from pocketrec_experiments.statistics.metrics import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its heading; the first cell of a row is its name.

    Attributes:
        name: unique in the page.
        title: heading.
        note: the sentence below the heading.
        columns: headings of the columns.
        rows: texts.
        tones: class of each row: "good", "bad" or "unsure"; empty: none.
    """

    name: str
    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]
    tones: list[str] = field(default_factory=list)


def tables(report: ExperimentReport) -> list[Table]:
    """Return the tables in reading order; those without rows are left out."""
    made = [_arms(report)]
    for one in report.comparisons:
        made += [_outcomes(one, guardrail=guardrail) for guardrail in (False, True)]
        made.append(_guards(report, one))
        made.append(_segments(report, one))
        made.append(_looks(report, one))
    return [table for table in made if table.rows]


def _arms(report: ExperimentReport) -> Table:
    columns = [
        "arm", "share", "exposed", "analysed", "slates", "impressions", "clicks", "sessions",
        "buyers", f"revenue{f' ({report.currency})' if report.currency else ''}", "items", "p95 ms",
    ]  # fmt: skip
    rows = [
        [
            arm.name,
            f"{arm.share:.1%}",
            *(
                f"{n:,}"
                for n in (
                    arm.exposed,
                    arm.users,
                    arm.requests,
                    arm.impressions,
                    arm.clicks,
                    arm.sessions,
                    arm.buyers,
                )
            ),
            f"{arm.revenue:,.2f}",
            "" if arm.items is None else f"{arm.items:,}",
            "" if arm.p95_ms is None else f"{arm.p95_ms:,.1f}",
        ]
        for arm in report.arms
    ]
    note = "Exposed users include bots; all other columns do not. Items: different ones shown."
    return Table(name="arms", title="Arms", note=note, columns=columns, rows=rows)


def _outcomes(one: Comparison, *, guardrail: bool) -> Table:
    chosen = [o for o in one.outcomes if METRICS[o.metric].is_guardrail == guardrail]
    what = "technical metrics" if guardrail else "metrics"
    return Table(
        name=f"{'guardrail' if guardrail else 'outcome'}-{one.arm}",
        title=f"{one.arm}: {what}",
        note="Tested as if this were the only look (tea-tasting). Adjusted p: Holm's correction for"
        " the metrics of this treatment.",
        columns=["metric", "control", one.arm, "change", "from", "to", "p", "adjusted p", "CUPED"],
        rows=[_outcome(o) for o in chosen],
        tones=[tone(o) for o in chosen],
    )


def _outcome(o: Outcome) -> list[str]:
    metric = METRICS[o.metric]
    change = [
        "" if v is None else f"{v:+.1%}" for v in (o.relative, o.relative_low, o.relative_high)
    ]
    return [
        metric.title,
        shown(metric, o.control),
        shown(metric, o.treatment),
        *change,
        f"{o.p:.3g}",
        f"{o.p_holm:.3g}",
        "yes" if o.cuped else "no",
    ]


def _guards(report: ExperimentReport, one: Comparison) -> Table:
    rows = []
    for guard in report.design.guards:
        seen = one.guards.get(guard.name)
        if not seen:
            continue
        metric, last = METRICS[guard.metric], seen[-1]
        broken = next((look for look in seen if look.is_crossed), None)
        rows.append(
            [
                metric.title,
                f"{guard.worse_by:.1%}",
                shown(metric, last.margin.control),
                shown(metric, last.margin.treatment),
                shown(metric, last.margin.limit),
                f"{last.margin.z:+.2f}",
                f"{last.bound:.2f}",
                "holds" if broken is None else f"broken on day {broken.day}",
            ]
        )
    return Table(
        name=f"limits-{one.arm}",
        title=f"{one.arm}: guardrails",
        note="A guardrail is broken if z is above its bound on any day.",
        columns=["metric", "tolerated", "control", one.arm, "limit", "z", "bound", "state"],
        rows=rows,
    )


def _segments(report: ExperimentReport, one: Comparison) -> Table:
    metric = METRICS[report.settings.metric]
    return Table(
        name=f"segments-{one.arm}",
        title=f"{one.arm}: {metric.title.lower()} by segment",
        note="One look, no correction: of twenty segments without a difference one looks clear.",
        columns=["segment", "users", "control", one.arm, "change", "from", "to", "p"],
        rows=[
            [
                f"{each.by}: {each.name}",
                f"{each.control_users + each.treatment_users:,}",
                shown(metric, each.effect.control),
                shown(metric, each.effect.treatment),
                *_percents(
                    each.effect.relative, each.effect.relative_low, each.effect.relative_high
                ),
                f"{each.effect.p:.3g}",
            ]
            for each in one.segments
        ],
    )


def _percents(*values: float) -> list[str]:
    return [f"{value:+.1%}" if abs(value) < 10 else "" for value in values]


def _looks(report: ExperimentReport, one: Comparison) -> Table:
    metric = METRICS[report.settings.metric]
    return Table(
        name=f"looks-{one.arm}",
        title=f"{one.arm}: {metric.title.lower()} at the end of each day",
        note=(
            "All events up to that day, adjusted by CUPED. Beyond the bound the verdict stands,"
            " unless late events change earlier days."
        ),
        columns=["day", "date", "users", "control", one.arm, "change", "z", "bound"],
        rows=[
            [
                str(look.day),
                _date(report.design.from_utc + (look.day - 1) * DAY_S),
                f"{look.control_users + look.treatment_users:,}",
                shown(metric, look.effect.control),
                shown(metric, look.effect.treatment),
                *_percents(look.effect.relative),
                f"{look.effect.z:+.2f}",
                f"{look.bound:.2f}",
            ]
            for look in one.looks
        ],
    )


def _date(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d")
