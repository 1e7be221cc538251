"""`experiment_report`: from exported events and a design to the whole report."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis.activity import user_days
from pocketrec_experiments.analysis.arms import ArmFigures, arm_figures
from pocketrec_experiments.analysis.compare.fixed import Outcome, outcomes
from pocketrec_experiments.analysis.compare.looks import GuardLook, Look, guard_looks, looks
from pocketrec_experiments.analysis.compare.novelty import Novelty, novelty
from pocketrec_experiments.analysis.compare.segments import Segment, segments
from pocketrec_experiments.analysis.currency import main_currency
from pocketrec_experiments.analysis.daily import DailySums, daily_sums
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.notes import notes
from pocketrec_experiments.analysis.population import population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import open_events
from pocketrec_experiments.analysis.totals import add_diversity, user_totals
from pocketrec_experiments.analysis.verdict import Verdict, judged, no_verdict, with_state
from pocketrec_experiments.statistics import SampleRatio, sample_ratio
from pocketrec_experiments.statistics.metrics import METRICS, metric_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One treatment against control.

    Attributes:
        arm: the treatment.
        verdict: what to do about it.
        looks: daily looks at the deciding metric.
        guards: daily looks at each guardrail of the design, by `Guard.name`.
        outcomes: all metrics, tested as if the last look were the only one.
        segments: the deciding metric in parts of the population.
        novelty: the deciding metric by days since exposure.
    """

    arm: str
    verdict: Verdict
    looks: list[Look]
    guards: dict[str, list[GuardLook]]
    outcomes: list[Outcome]
    segments: list[Segment]
    novelty: Novelty


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport:
    """Result of `experiment_report`.

    Attributes:
        design: the experiment as planned.
        settings: rules of the analysis.
        source: "events": computed from raw events; "sums": from sums of devices.
        days: days with data.
        planned_days: days of the plan.
        end_utc: events before this time are in the report.
        verdict: the first line; of the first treatment that has a decision.
        arms: figures by arm.
        ratio: test of the number of users.
        comparisons: one for each treatment.
        curves: the deciding metric by arm at the end of each day; None before it has data.
        notes: what was left out or cut, and why.
        currency: of the revenue; None if the events name none.
        k: devices that an arm must have to be shown; None: from events.
        epsilon: of the noise on the sums, for each metric and day; None: no noise.
    """

    design: Design
    settings: Settings
    source: str
    days: int
    planned_days: int
    end_utc: int
    verdict: Verdict
    arms: list[ArmFigures]
    ratio: SampleRatio
    comparisons: list[Comparison]
    curves: dict[str, list[float | None]]
    notes: list[str]
    currency: str | None
    k: int | None = None
    epsilon: float | None = None

    @property
    def source_line(self) -> str:
        """Say what the report was computed from."""
        n = sum(arm.exposed for arm in self.arms)
        if self.source == "events":
            return f"Computed from raw events of {n:,} users."
        noise = "no noise"
        if self.epsilon is not None:
            noise = f"Laplace noise with epsilon {self.epsilon:g} for each metric and day"
        return f"Computed from sums of {n:,} devices; arms from k = {self.k} devices on; {noise}."

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the source first; numbers that do not exist are null."""
        plain: dict[str, Any] = _finite(dataclasses.asdict(self))
        return {name: plain[name] for name in ("source", "k", "epsilon")} | plain


def experiment_report(
    *, design: Design, events: Path, settings: Settings | None = None
) -> ExperimentReport:
    """Analyse an experiment by intention to treat.

    Args:
        design: the experiment.
        events: folder of `pocketrec events export`.
        settings: rules of the analysis.

    Raises:
        InputError: a setting is out of its range.
        EventsInvalidError: the folder has no exposures, or a column is missing.
    """
    settings = settings or Settings()
    settings.check()
    metric_of(settings.metric)
    with open_events(events, threads=settings.threads, memory_mb=settings.memory_mb) as opened:
        connection = opened.connection
        found = population(opened, design, settings)
        currency, others = main_currency(opened, settings)
        user_days(opened, found, design, settings, currency)
        outliers = user_totals(connection, found, settings)
        totals = add_diversity(connection, opened.impressions, found.end_utc)
        arms = arm_figures(connection, found.users, opened.requests, design, found.end_utc)
        ratio = sample_ratio([arm.exposed for arm in arms], list(design.arms.values()))
        wanted = {settings.metric, *(guard.metric for guard in design.guards)}
        daily = daily_sums(
            connection,
            [metric_of(name) for name in sorted(wanted)],
            list(design.arms),
            from_utc=design.from_utc,
            end_utc=found.end_utc,
            revenue_cap=outliers.revenue_cap,
        )
        refusal = no_verdict(ratio, arms, settings.least_users)
        if refusal is not None:
            refusal = with_state(refusal, design)
        comparisons = [
            _compared(
                connection,
                totals,
                daily,
                design,
                settings,
                arm,
                refusal,
                found.end_utc,
                found.is_over,
                opened.segments,
            )
            for arm in design.treatments
        ]
        novelties = {each.arm: each.novelty for each in comparisons}
        told = notes(design, found, outliers, settings, ratio, arms, novelties, others, currency)
    return ExperimentReport(
        design=design,
        settings=settings,
        source="events",
        days=daily.n_days,
        planned_days=planned_days(design),
        end_utc=found.end_utc,
        verdict=refusal or first_verdict(comparisons),
        arms=arms,
        ratio=ratio,
        comparisons=comparisons,
        curves=curves(daily, settings.metric),
        notes=told,
        currency=currency,
    )


def planned_days(design: Design) -> int:
    """Return the days of the plan, at least 1."""
    return max(1, math.ceil((design.until_utc - design.from_utc) / DAY_S))


def _compared(
    connection: Any,
    totals: Any,
    daily: DailySums,
    design: Design,
    settings: Settings,
    arm: str,
    refusal: Verdict | None,
    end_utc: int,
    is_over: bool,
    columns: tuple[str, ...],
) -> Comparison:
    metric = metric_of(settings.metric)
    control, treatment = daily.by_arm[design.control], daily.by_arm[arm]
    alpha = settings.alpha / len(design.treatments)
    made = looks(control[metric.name], treatment[metric.name], metric, design, alpha=alpha)
    guards = {
        guard.name: guard_looks(control[guard.metric], treatment[guard.metric], guard, design)
        for guard in design.guards
    }
    verdict = refusal or with_state(
        judged(arm, metric, made, guards, planned_days=planned_days(design), is_over=is_over),
        design,
    )
    return Comparison(
        arm=arm,
        verdict=verdict,
        looks=made,
        guards=guards,
        outcomes=outcomes(
            totals, list(METRICS.values()), design.control, arm, alpha=settings.alpha
        ),
        segments=segments(totals, metric, columns, design.control, arm, settings.alpha),
        novelty=novelty(connection, metric, design.control, arm, end_utc),
    )


_ORDER = (
    *("guardrail", "better", "worse", "halted"),
    *("running", "ended", "no difference", "too few users"),
)


def first_verdict(comparisons: list[Comparison]) -> Verdict:
    """Return the verdict of the first treatment that has a decision."""
    return min((each.verdict for each in comparisons), key=lambda v: _ORDER.index(v.kind))


def curves(daily: DailySums, name: str) -> dict[str, list[float | None]]:
    """Return a metric by arm at the end of each day; None before it has data."""
    ratio = METRICS[name].ratio(cuped=False)
    made: dict[str, list[float | None]] = {}
    for arm, by_metric in daily.by_arm.items():
        made[arm] = []
        for sums in by_metric[name]:
            above, below = sums.mean(ratio.numerator), sums.mean(ratio.denominator)
            made[arm].append(above / below if sums.n and below else None)
    return made


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
