"""Look at the guardrails of experiments once a day, and halt an arm that breaks one.

`experiments.json`, signed with the channel's key, has the guardrails. The server has the key of the
role `brake`, which can halt an arm and cannot start one.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics.sequential import MOST_LOOKS
from pocketrec_server.auth import audit
from pocketrec_server.events import exposures
from pocketrec_server.experiments.halted_arms import halt_arm, read_halted_arms
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.halting import looks
from pocketrec_server.halting.devices import figures, members
from pocketrec_server.halting.looks import Look
from pocketrec_server.halting.network_comparison import FEWEST_HARMED, compare
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import BRAKE, TARGETS, channels_of
from pocketrec_server.storage.database import writing

EVERY_S = 300.0
LATE_S = 3600
"""A day is looked at so long after its end, when most of its events have arrived."""
_LOG = logging.getLogger("pocketrec_server")


def watch(
    repo: Path, engine: Engine, signers: Signers, stop: threading.Event, every_s: float = EVERY_S
) -> threading.Thread:
    """Start a thread that looks periodically. Failures are logged and retried.

    Args:
        repo: folder of the repository; may still be empty.
        engine: the database.
        signers: signers of the online roles.
        stop: event that ends the thread.
        every_s: seconds between two checks whether a look is due.
    """

    def run() -> None:
        while True:
            try:
                if state.exists(repo):
                    once(repo, engine, signers, int(time.time()))
            except (PocketRecError, SQLAlchemyError) as err:
                _LOG.error("guardrails: %s", err)
            except Exception:  # noqa: BLE001  # the last handler: the thread must live on
                _LOG.exception("guardrails: bug")
            if stop.wait(every_s):
                return

    thread = threading.Thread(target=run, name="guardrails", daemon=True)
    thread.start()
    return thread


def once(repo: Path, engine: Engine, signers: Signers, now_utc: int) -> list[Look]:
    """Make the looks that are due, and halt the arms that broke a guardrail.

    Returns:
        The looks for which an arm was halted.

    Raises:
        PocketRecError: the repository cannot be read, or a halt cannot be signed; the next call
            tries again.
        SQLAlchemyError: the database failed.
    """
    halted: list[Look] = []
    subjects: list[str] = []
    exposed: list[str] = []
    for channel in channels_of(state.load(repo).targets[TARGETS]):
        for one in read_experiments(repo, channel).experiments:
            if not one.runs(max(now_utc, one.from_utc)):
                continue
            subjects.append(subject_of(channel, one))
            exposed.append(exposures.subject_of(one.id, one.salt))
            if one.guardrails and not one.interleave:
                _look(engine, channel, one, now_utc)
                halted += _halt(repo, engine, signers, channel, one, now_utc)
    with writing(engine) as connection:
        exposures.forget_others(connection, exposed)
        looks.forget_others(connection, subjects)
    return halted


def subject_of(channel: str, one: Experiment) -> str:
    """Return the subject of the looks at an experiment."""
    return f"{channel} {one.id} {one.salt}"


def name_of(guardrail: Guardrail) -> str:
    """Return a guardrail as a short text: a changed limit begins new looks."""
    return f"{guardrail.metric} {guardrail.worse_by:g} {guardrail.alpha:g}"


def due_day(one: Experiment, now_utc: int) -> int | None:
    """Return the day to look at now, from 1; None before the first or after the last one."""
    planned = planned_days(one)
    day = min((now_utc - LATE_S - one.from_utc) // DAY_S, planned)
    return int(day) if day >= 1 and planned <= MOST_LOOKS else None


def planned_days(one: Experiment) -> int:
    """Return the days of an experiment, a part of one counts as one."""
    return max(1, math.ceil((one.until_utc - one.from_utc) / DAY_S))


def _look(engine: Engine, channel: str, one: Experiment, now_utc: int) -> None:
    day, subject = due_day(one, now_utc), subject_of(channel, one)
    if day is None or not looks.claim(engine, subject, day, now_utc):
        return
    until = min(one.from_utc + day * DAY_S, one.until_utc)
    arms = [arm.name for arm in one.arms]
    found = members(engine, exposures.subject_of(one.id, one.salt), arms, one.from_utc, until)
    sums = figures(engine, found, until)
    earlier = looks.looks(engine, subject)
    made = []
    for arm in arms[1:]:
        for guardrail in one.guardrails:
            seen = compare(found, sums, one.control.name, arm, guardrail)
            if seen is None:
                continue
            name, m = name_of(guardrail), seen.margin
            information = (max(abs(m.limit), m.se) / m.se) ** 2
            before = [each for each in earlier if (each.arm, each.guardrail) == (arm, name)]
            bound = looks.bound_of(before, day, information, planned_days(one), guardrail.alpha)
            made.append(
                Look(
                    subject=subject,
                    arm=arm,
                    guardrail=name,
                    day=day,
                    networks=seen.networks,
                    control=m.control,
                    treatment=m.treatment,
                    information=information,
                    z=m.z,
                    bound=bound,
                    broken=int(m.z > bound and seen.harmed >= FEWEST_HARMED),
                )
            )
    looks.finish(engine, subject, day, made)


def _halt(
    repo: Path, engine: Engine, signers: Signers, channel: str, one: Experiment, now_utc: int
) -> Iterator[Look]:
    """Halt the arms with a broken guardrail that were not halted for it yet."""
    for look in looks.looks(engine, subject_of(channel, one)):
        if not look.broken or look.halted_utc is not None:
            continue
        if read_halted_arms(repo, channel).reason(one, look.arm) is None:
            signers[BRAKE]  # raises before the audit log gets an entry for each try
            why = reason_of(look)
            subject = f"{channel} {one.id} {look.arm}"
            with audit.noted(engine, audit.SERVER, "experiment-halt", subject, reason=why):
                halt_arm(repo, signers, channel, one, look.arm, why, by=audit.SERVER)
            _LOG.warning("halted arm %s of %s on %s: %s", look.arm, one.id, channel, why)
            yield look
        looks.note_halt(engine, look, now_utc)


def reason_of(look: Look) -> str:
    """Say why an arm is halted."""
    metric, worse_by, _ = look.guardrail.split(" ")
    return (
        f"{metric} is {look.treatment:.4g}, {look.control:.4g} in control, and may be "
        f"{float(worse_by):.0%} worse (day {look.day}, {look.networks} networks, "
        f"z {look.z:.1f} above {look.bound:.1f})"
    )
