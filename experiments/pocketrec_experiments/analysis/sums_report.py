"""`sums_report`: from released sums of devices and a design to the report.

The tests are those of the report on raw events. Sums lack what needs single events: the number of
different items in an arm, segments by app version, and the effect by days since exposure.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketrec_bundle.settings.experiment_sums import LATENCY_EDGES_MS, MOST_SLATE_MS
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.arms import ArmFigures
from pocketrec_experiments.analysis.compare.fixed import Outcome, outcomes_of_sums
from pocketrec_experiments.analysis.compare.looks import guard_looks, looks
from pocketrec_experiments.analysis.compare.novelty import Novelty
from pocketrec_experiments.analysis.compare.segments import Segment, segments_of_sums
from pocketrec_experiments.analysis.daily import DailySums
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.notes import halt_notes
from pocketrec_experiments.analysis.report import (
    Comparison,
    ExperimentReport,
    curves,
    first_verdict,
    planned_days,
)
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.sums_file import Release, ReleasedArm, read_releases
from pocketrec_experiments.analysis.verdict import TOO_FEW, Verdict, judged, no_verdict, with_state
from pocketrec_experiments.statistics import SampleRatio, Sums, sample_ratio
from pocketrec_experiments.statistics.metrics import METRICS, metric_of

_P95 = 0.95


def sums_report(
    *, design: Design, sums: Path, settings: Settings | None = None
) -> ExperimentReport:
    """Analyse an experiment by intention to treat, on sums that devices sent.

    Args:
        design: the experiment.
        sums: file or folder of `pocketrec events export-sums`.
        settings: metric and alpha; the devices and the server fixed all other rules.

    Raises:
        InputError: a setting is out of its range.
        EventsInvalidError: there are no sums of the experiment, or a file is damaged.
    """
    settings = settings or Settings()
    settings.check()
    metric = metric_of(settings.metric)
    releases = read_releases(sums, design)
    last, daily = releases[-1], _daily(releases, design)
    cuped = all(one.epsilon is None for one in releases)
    arms = [_figures(name, share, last.arms.get(name)) for name, share in design.arms.items()]
    ratio = sample_ratio([arm.exposed for arm in arms], list(design.arms.values()))
    hidden = _hidden(last, design)
    if hidden is not None:  # its number of devices is not known
        ratio = replace(ratio, p=1.0)
    refusal = hidden or no_verdict(ratio, arms, settings.least_users)
    if refusal is not None:
        refusal = with_state(refusal, design)
    is_over = last.at_utc >= design.until_utc
    alpha = settings.alpha / len(design.treatments)
    comparisons = []
    for arm in design.treatments:
        control, treatment = daily.by_arm[design.control], daily.by_arm[arm]
        made = looks(
            control[metric.name], treatment[metric.name], metric, design, alpha=alpha, cuped=cuped
        )
        guards = {
            guard.name: guard_looks(
                control[guard.metric], treatment[guard.metric], guard, design, cuped=cuped
            )
            for guard in design.guards
        }
        verdict = refusal or with_state(
            judged(arm, metric, made, guards, planned_days=planned_days(design), is_over=is_over),
            design,
        )
        pair = last.arms.get(design.control), last.arms.get(arm)
        comparisons.append(
            Comparison(
                arm=arm,
                verdict=verdict,
                looks=made,
                guards=guards,
                outcomes=_outcomes(*pair, alpha=settings.alpha, cuped=cuped),
                segments=_segments(*pair, metric_name=metric.name, alpha=settings.alpha),
                novelty=Novelty(days=[], trend_z=None),
            )
        )
    return ExperimentReport(
        design=design,
        settings=settings,
        source="sums",
        k=last.k,
        epsilon=last.epsilon,
        days=daily.n_days,
        planned_days=planned_days(design),
        end_utc=min(last.at_utc, design.data_until_utc),
        verdict=refusal or first_verdict(comparisons),
        arms=arms,
        ratio=ratio,
        comparisons=comparisons,
        curves=curves(daily, settings.metric),
        notes=_notes(last, design, settings, ratio),
        currency=last.currency,
    )


def _day(at_utc: int, design: Design) -> int:
    """Return the day of the experiment, from 1, that a time belongs to."""
    day = math.ceil((at_utc - design.from_utc) / DAY_S)
    return min(max(day, 1), planned_days(design))


def _daily(releases: list[Release], design: Design) -> DailySums:
    """Return the newest release of each day; days without one have no users, and no look."""
    by_day = {_day(one.at_utc, design): one for one in releases}
    n_days = max(by_day)
    made: dict[str, dict[str, list[Sums]]] = {}
    for arm in design.arms:
        made[arm] = {name: [] for name in METRICS}
        for day in range(1, n_days + 1):
            there = by_day[day].arms.get(arm) if day in by_day else None
            for name in METRICS:
                made[arm][name].append(_empty(name) if there is None else there.metrics[name])
    return DailySums(n_days=n_days, by_arm=made)


def _empty(name: str) -> Sums:
    names = METRICS[name].ratio(cuped=True).quantities
    return Sums.of_rows(names, np.zeros((0, len(names))))


def _figures(name: str, share: float, arm: ReleasedArm | None) -> ArmFigures:
    def total(metric: str, quantity: str) -> float:
        if arm is None:
            return 0.0
        sums = arm.metrics[metric]
        return max(float(sums.totals[sums.names.index(quantity)]), 0.0)

    return ArmFigures(
        name=name,
        share=share,
        exposed=0 if arm is None else arm.devices,
        users=0 if arm is None else arm.metrics["conversion"].n,
        requests=round(total("fallback_share", "requests")),
        impressions=round(total("ctr", "impressions")),
        clicks=round(total("ctr", "clicks")),
        sessions=round(total("sessions", "sessions")),
        buyers=round(total("conversion", "converted")),
        revenue=total("revenue", "revenue"),
        items=None,
        p95_ms=None if arm is None else _quantile(arm.latency_bins),
    )


def _quantile(bins: tuple[int | None, ...]) -> float | None:
    """Return the upper end of the bin with the 95% quantile.

    None without slates, and if the quantile is in the last bins and these are merged.
    """
    reached, n = 0, sum(count or 0 for count in bins)
    ends = (*LATENCY_EDGES_MS, MOST_SLATE_MS)
    for at, (count, end) in enumerate(zip(bins, ends, strict=False)):
        reached += count or 0
        if n and reached >= _P95 * n:
            is_open = end == MOST_SLATE_MS and bins[at - 1] is None
            return None if is_open else end
    return None


def _hidden(last: Release, design: Design) -> Verdict | None:
    names = [name for name in design.arms if last.arms.get(name) is None]
    if not names:
        return None
    return Verdict(
        kind=TOO_FEW,
        word="No verdict yet",
        sentence=f"Arm {', '.join(names)} has fewer than {last.k} devices, so its figures are not"
        " shown.",
    )


def _outcomes(
    control: ReleasedArm | None, treatment: ReleasedArm | None, *, alpha: float, cuped: bool
) -> list[Outcome]:
    if control is None or treatment is None:
        return []
    return outcomes_of_sums(
        control.metrics, treatment.metrics, list(METRICS.values()), alpha=alpha, cuped=cuped
    )


def _segments(
    control: ReleasedArm | None,
    treatment: ReleasedArm | None,
    *,
    metric_name: str,
    alpha: float,
) -> list[Segment]:
    if control is None or treatment is None:
        return []
    return segments_of_sums(control.parts, treatment.parts, METRICS[metric_name], alpha)


def _notes(last: Release, design: Design, settings: Settings, ratio: SampleRatio) -> list[str]:
    told = halt_notes(design)
    if not design.is_open:
        told.append(f"The experiment is {design.state}; devices sent sums until they learnt of it.")
    if last.epsilon is not None:
        told.append(
            f"Laplace noise: epsilon {last.epsilon:g} for each metric and day. A device's figures"
            " are cut to fixed limits first, revenue to 1,000. Intervals include the noise. There"
            " is no CUPED, and no correction for bots."
        )
    if last.other_currency_devices:
        told.append(
            f"Revenue is in {last.currency}; {last.other_currency_devices:,} devices with another"
            " currency count without revenue."
        )
    told.append(f"Arms of fewer than {last.k} devices are not shown.")
    told += [
        f"95% latency of arm {name}: not shown, fewer than {last.k} devices have such slates."
        for name, arm in last.arms.items()
        if arm is not None and any(arm.latency_bins) and _quantile(arm.latency_bins) is None
    ]
    if _hidden(last, design) is None:
        told.append(f"Sample ratio: p = {ratio.p:.2g}; below 0.001 there is no verdict.")
    else:
        told.append("Sample ratio: not tested, because an arm is not shown.")
    told.append(
        "Intention to treat: users count in the arm of their first exposure. A user who installs"
        " the app again is a new device and may be in another arm."
    )
    told.append(
        "Each day has the sums as the server knew them then; sums that devices send later change"
        " later days only. Clicks are interactions of all kinds; conversions are"
        f" {', '.join(settings.conversions)}."
    )
    if last.epsilon is None:
        told.append(f"CUPED uses the {settings.past_days} days before each user's exposure.")
    return told
