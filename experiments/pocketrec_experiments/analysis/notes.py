"""What the report left out or cut, one sentence each."""

from collections.abc import Mapping, Sequence

from pocketrec_experiments.analysis.arms import ArmFigures
from pocketrec_experiments.analysis.compare.novelty import Novelty
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.population import Population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.totals import LARGE_SHARE, Outliers
from pocketrec_experiments.statistics import SampleRatio, sample_ratio


def notes(
    design: Design,
    found: Population,
    outliers: Outliers,
    settings: Settings,
    ratio: SampleRatio,
    arms: Sequence[ArmFigures],
    novelties: Mapping[str, Novelty],
    other_currencies: dict[str, int],
    currency: str | None,
) -> list[str]:
    """Return the notes, those that change a figure first."""
    told = [*halt_notes(design), *_end(design), *_outliers(outliers, arms), *users_left_out(found)]
    if other_currencies:
        listed = ", ".join(f"{name} ({n:,})" for name, n in other_currencies.items())
        told.append(f"Revenue is in {currency}; purchases in {listed} count without their amount.")
    for arm, novelty in novelties.items():
        if novelty.changes:
            z = novelty.trend_z or 0.0
            way = "grows" if z > 0 else "falls"
            told.append(
                f"{arm}: the difference {way} with the days since exposure (z = {z:+.1f})."
                " A novelty effect fades; judge by the later days."
            )
    told.append(f"Sample ratio: p = {ratio.p:.2g}; below 0.001 there is no verdict.")
    told.append(
        "Intention to treat: users count in the arm of their first exposure, with all their later"
        " events. A user who installs the app again is a new device and may be in another arm."
    )
    told.append(
        f"CUPED uses the {settings.past_days} days before each user's exposure. Events that devices"
        " upload later change the figures of earlier days."
    )
    return told


def halt_notes(design: Design) -> list[str]:
    """Return which arms are halted and why, one sentence each."""
    return [
        f"Arm {arm} is halted: {why}. Its devices leave it at their next sync."
        for arm, why in design.halted.items()
    ]


def _end(design: Design) -> list[str]:
    if design.is_open:
        return []
    if design.ended_utc is not None:
        return [f"The experiment is {design.state}; events from its end on are left out."]
    return [
        f"The experiment is {design.state}, and its end is not known (--until). Later days count"
        " by arm although devices may have left the arms."
    ]


def _outliers(outliers: Outliers, arms: Sequence[ArmFigures]) -> list[str]:
    told = []
    if outliers.bots:
        listed = ", ".join(f"{n} in {arm}" for arm, n in sorted(outliers.bots.items()))
        told.append(
            f"Bots are left out: {listed}; more than {outliers.bot_limit:,.0f} events on a day."
        )
        kept = [outliers.bots.get(arm.name, 0) for arm in arms]
        exposed = [arm.exposed for arm in arms]
        if min(exposed) > 0 and sample_ratio(kept, exposed).is_off:
            told.append("The arms differ in their bots beyond chance: an arm may cause the events.")
    if outliers.largest_share > LARGE_SHARE:
        told.append(f"One user has {outliers.largest_share:.0%} of all revenue.")
    if outliers.cut_users:
        told.append(
            f"Revenue of {outliers.cut_users:,} users is cut to {outliers.revenue_cap:,.2f} a user;"
            f" that is {outliers.cut_share:.1%} of the revenue."
        )
    return told


def users_left_out(found: Population) -> list[str]:
    """Return which users do not count and why, one sentence each."""
    reasons = (
        (found.forced, "with a forced arm are left out"),
        (found.other_salt, "of an earlier draw (another salt) are left out"),
        (found.off_clock, "whose exposure is outside the experiment's times are left out"),
        (found.unknown_arm, "in an arm that the experiment does not have are left out"),
        (found.in_two_arms, "were exposed to two arms and count in the first"),
    )
    return [f"{n:,} users {what}." for n, what in reasons if n]
