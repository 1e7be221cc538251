"""The summary of a report that the admin site and Prometheus show."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pocketrec_experiments.analysis import ExperimentReport
    from pocketrec_server.experiments.results import ArmResult, Results


def publish_results(
    engine: "Engine", channel: str, report: "ExperimentReport", now_utc: int
) -> None:
    """Store the summary of a report in the server's database.

    Args:
        engine: the database.
        channel: of the experiment.
        report: of the experiment.
        now_utc: time of the report, unix seconds.

    Raises:
        InputError: a figure is out of its range.
        SQLAlchemyError: the database failed.
    """
    from pocketrec_server.experiments.results import store_results

    store_results(engine, channel, _results(report, now_utc))


def _results(report: "ExperimentReport", now_utc: int) -> "Results":
    from pocketrec_server.experiments.results import MAX_WORDS, Results

    design, verdict = report.design, report.verdict
    return Results(
        experiment=design.id,
        salt=design.salt,
        metric=report.settings.metric,
        computed_utc=now_utc,
        until_utc=report.end_utc,
        days=report.days,
        planned_days=report.planned_days,
        word=verdict.word,
        sentence=verdict.sentence[:MAX_WORDS],
        tone=verdict.tone,
        sample_ratio_p=report.ratio.p,
        arms=tuple(_arm(report, name) for name in design.arms),
        source=report.source,
        k=report.k,
        epsilon=report.epsilon,
    )


def _arm(report: "ExperimentReport", name: str) -> "ArmResult":
    from pocketrec_server.experiments.results import ArmResult

    users = next(arm.users for arm in report.arms if arm.name == name)
    curve = report.curves.get(name) or [None]
    looks = next((each.looks for each in report.comparisons if each.arm == name), [])
    if not looks:
        return ArmResult(arm=name, users=users, value=curve[-1])
    last = looks[-1]
    return ArmResult(
        arm=name,
        users=users,
        value=curve[-1],
        change=_finite(last.effect.relative),
        low=_finite(last.effect.relative_low),
        high=_finite(last.effect.relative_high),
        z=_finite(last.effect.z),
        bound=_finite(last.bound),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
