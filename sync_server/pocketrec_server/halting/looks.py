"""The daily looks at guardrails in the database: one a day, each with its sequential bound.

A look spends its share of the error rate once, however often and by however many servers it is
asked for: the first one to claim a day looks, and its figures stay.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, select, update

from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics.sequential import sequential_bounds, spending
from pocketrec_server.halting.network_comparison import (
    FEWEST_HARMED,
    FEWEST_NETWORKS,
    Comparison,
)
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import GUARD_DAY, GUARD_LOOK

LATE_S = 3600
"""A day is looked at so long after its end, when most of its events have arrived."""
CLAIM_S = 900
"""A look that is not done after this time ended with its process; another one looks again."""
KEPT_SHARE = 0.9
"""Fewer networks than this share of the last look's were lost with the database: a restored backup
has none. Erasures alone do not remove so many in a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one guardrail of one arm, or of one release.

    Attributes:
        subject: channel, experiment and salt; or channel, release, begin and share of its stage.
        arm: name of the arm; `RELEASE` for a release.
        guardrail: metric, limit and alpha, as `name_of` writes them.
        day: days since the begin, from 1.
        networks: of the smaller arm.
        control: metric that the arm would have without an effect, the mean over networks.
        treatment: metric of the arm.
        information: as in `sequential_bounds`.
        z: standard errors beyond the limit.
        bound: the guardrail is broken if z is above it.
        broken: 1 if the arm is to be halted, else 0.
        halted_utc: when it was halted for this look, or None.
    """

    subject: str
    arm: str
    guardrail: str
    day: int
    networks: int
    control: float
    treatment: float
    information: float
    z: float
    bound: float
    broken: int
    halted_utc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Place of a look in its plan.

    Attributes:
        day: of the look, 1..days.
        days: planned looks.
        alpha: one-sided error rate of all looks.
    """

    day: int
    days: int
    alpha: float


def name_of(guardrail: Guardrail) -> str:
    """Return a guardrail as a short text: a changed limit begins new looks."""
    return f"{guardrail.metric} {guardrail.worse_by:g} {guardrail.alpha:g}"


def due_day(begin_utc: int, days: int, now_utc: int) -> int | None:
    """Return the day to look at now, from 1; None before the first one ended."""
    day = min((now_utc - LATE_S - begin_utc) // DAY_S, days)
    return int(day) if day >= 1 else None


def end_of(begin_utc: int, day: int) -> int:
    """Return the end of a day since a begin, unix seconds."""
    return begin_utc + day * DAY_S


def made(
    subject: str,
    arm: str,
    guardrail: Guardrail,
    earlier: Iterable[Look],
    plan: Plan,
    seen: Comparison,
    level: float,
) -> Look:
    """Return today's look.

    Args:
        subject: of the look.
        arm: of the look.
        guardrail: the guardrail.
        earlier: looks at the arm, the first day first.
        plan: place of the look.
        seen: what it found.
        level: of the metric, whose information grows from look to look.
    """
    name, information = name_of(guardrail), seen.information(level)
    before = [each for each in earlier if each.guardrail == name]
    bound = bound_of(before, plan.day, information, plan.days, plan.alpha, networks=seen.networks)
    return Look(
        subject=subject,
        arm=arm,
        guardrail=name,
        day=plan.day,
        networks=seen.networks,
        control=seen.control,
        treatment=seen.treatment,
        information=information,
        z=seen.margin.z,
        bound=bound,
        broken=int(seen.margin.z > bound and seen.harmed >= FEWEST_HARMED),
    )


def claim(engine: Engine, subject: str, day: int, now_utc: int) -> bool:
    """Claim the look of a day; return whether the caller has to look."""
    column = GUARD_DAY.c
    row = {"subject": subject, "day": day, "claimed_utc": now_utc, "done": 0}
    with writing(engine) as connection:
        new = dialect_of(connection).insert(GUARD_DAY).on_conflict_do_nothing()
        if connection.execute(new.values(**row).returning(column.day)).first() is not None:
            return True
        old = update(GUARD_DAY).where(
            column.subject == subject,
            column.day == day,
            column.done == 0,
            column.claimed_utc <= now_utc - CLAIM_S,
        )
        return bool(connection.execute(old.values(claimed_utc=now_utc)).rowcount)


def is_begun(engine: Engine, subject: str) -> bool:
    """Return whether a day of a subject was claimed."""
    query = select(GUARD_DAY.c.day).where(GUARD_DAY.c.subject == subject).limit(1)
    with engine.connect() as connection:
        return connection.execute(query).first() is not None


def finish(engine: Engine, subject: str, day: int, found: Iterable[Look]) -> None:
    """Store the looks of a claimed day."""
    column = GUARD_DAY.c
    with writing(engine) as connection:
        for look in found:
            new = dialect_of(connection).insert(GUARD_LOOK).on_conflict_do_nothing()
            connection.execute(
                new.values({name: getattr(look, name) for name in Look.__dataclass_fields__})
            )
        done = update(GUARD_DAY).where(column.subject == subject, column.day == day)
        connection.execute(done.values(done=1))


def looks(engine: Engine, subject: str) -> list[Look]:
    """Return the looks of a subject, the first day first."""
    column = GUARD_LOOK.c
    query = (
        select(GUARD_LOOK)
        .where(column.subject == subject)
        .order_by(column.day, column.arm, column.guardrail)
    )
    with engine.connect() as connection:
        return [Look(**row._mapping) for row in connection.execute(query)]


def latest(engine: Engine, subject: str) -> list[Look]:
    """Return the last look at each guardrail of each arm."""
    last = {(look.arm, look.guardrail): look for look in looks(engine, subject)}
    return [last[key] for key in sorted(last)]


def of_last_day(engine: Engine, subject: str) -> tuple[int | None, list[Look]]:
    """Return the last day that was looked at, and its looks; None before the first day."""
    column = GUARD_DAY.c
    query = select(func.max(column.day)).where(column.subject == subject, column.done == 1)
    with engine.connect() as connection:
        day = connection.scalar(query)
    return day, [look for look in looks(engine, subject) if look.day == day]


def not_looked(engine: Engine, subject: str, pairs: Collection[tuple[str, str]]) -> list[str]:
    """Describe the guardrails that the last look could not compare.

    Args:
        engine: the database.
        subject: of the looks.
        pairs: arm and guardrail, as `name_of` writes it, of all that are looked at.
    """
    day, last = of_last_day(engine, subject)
    if day is None:
        return []
    there = {(look.arm, look.guardrail) for look in last}
    return [
        f"{arm}, day {day}: no look at {guardrail.split(' ')[0]}: fewer than {FEWEST_NETWORKS}"
        " networks in an arm, or nothing varies"
        for arm, guardrail in sorted(set(pairs) - there)
    ]


def text_of(look: Look, control: str = "control") -> str:
    """Describe a look in one line."""
    metric, worse_by, _ = look.guardrail.split(" ")
    return (
        f"{look.arm}, day {look.day}: {metric} {look.treatment:.4g}, {look.control:.4g} in "
        f"{control} ({look.networks} networks); {float(worse_by):.0%} worse is tolerated; "
        f"z {look.z:.2f} of {look.bound:.2f}"
    )


def reason_of(look: Look, control: str) -> str:
    """Say why an arm or a release is halted."""
    metric, worse_by, _ = look.guardrail.split(" ")
    return (
        f"{metric} is {look.treatment:.4g}, {look.control:.4g} in {control}, and may be "
        f"{float(worse_by):.0%} worse (day {look.day}, {look.networks} networks, "
        f"z {look.z:.1f} above {look.bound:.1f})"
    )


def rounds(engine: Engine, rollout: str) -> set[str]:
    """Return the subjects of a rollout that were looked at: its stages."""
    column = GUARD_DAY.c.subject
    query = select(column).where(column.startswith(rollout, autoescape=True)).distinct()
    with engine.connect() as connection:
        return set(connection.scalars(query))


def note_halt(engine: Engine, look: Look, now_utc: int) -> None:
    """Note that the arm was halted for all looks up to this one: only later ones count again."""
    column = GUARD_LOOK.c
    of_arm = (column.subject == look.subject, column.arm == look.arm, column.day <= look.day)
    with writing(engine) as connection:
        open_ones = update(GUARD_LOOK).where(*of_arm, column.halted_utc.is_(None))
        connection.execute(open_ones.where(column.broken == 1).values(halted_utc=now_utc))


def forget_others(
    connection: Connection, subjects: Iterable[str], rollouts: Iterable[str] = ()
) -> None:
    """Delete the looks at all subjects but these, and those that begin with a rollout's name."""
    kept, named = list(subjects), list(rollouts)
    for table in (GUARD_LOOK, GUARD_DAY):
        column = table.c.subject
        others = [column.not_in(kept), *(~column.startswith(one, autoescape=True) for one in named)]
        connection.execute(delete(table).where(*others))


def bound_of(
    before: Iterable[Look],
    day: int,
    information: float,
    planned_days: int,
    alpha: float,
    *,
    networks: int,
) -> float:
    """Return the bound of today's look, after the earlier looks at the same guardrail.

    Where networks were lost, looks begin again with what the earlier ones left of alpha: they are
    independent of those, so one sequence with fixed correlations would have too low bounds.

    Args:
        before: earlier looks, the first day first.
        day: of today, 1..planned_days.
        information: of today's look.
        planned_days: of the experiment.
        alpha: one-sided error rate of all looks.
        networks: of today's look.
    """
    earlier = [look for look in before if look.day < day]
    counts = [*(look.networks for look in earlier), networks]
    start = _after_loss(counts)
    if start:
        alpha -= spending(earlier[start - 1].day / planned_days, alpha)
    made = {look.day: look.information for look in earlier[start:]} | {day: information}
    days = sorted(made)
    rising = list(itertools.accumulate((made[each] for each in days), max))
    fractions = [each / planned_days for each in days]
    return sequential_bounds(fractions, alpha=alpha, sides=1, information=rising).z[-1]


def _after_loss(networks: Sequence[int]) -> int:
    """Return the place of the first look after the last loss of networks; 0 without any."""
    losses = (
        at + 1
        for at, (old, new) in enumerate(itertools.pairwise(networks))
        if new < KEPT_SHARE * old
    )
    return max(losses, default=0)
