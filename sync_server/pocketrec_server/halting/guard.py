"""Look at the guardrails of experiments and releases once a day; halt what breaks one.

`experiments.json` and `guardrails.json`, signed with the channel's key, have the guardrails. The
server has the key of the role `brake`, which can halt an arm or a release and cannot start one.
`release_guard.py` has the looks at releases.
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
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.statistics.sequential import MOST_LOOKS
from pocketrec_server.auth import audit
from pocketrec_server.events import exposures
from pocketrec_server.experiments.halted_arms import halt_arm, read_halted_arms
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.halting import looks, release_guard
from pocketrec_server.halting.devices import figures, members
from pocketrec_server.halting.looks import Look, Plan
from pocketrec_server.halting.network_comparison import compare
from pocketrec_server.halting.release_limits import guarded_stages
from pocketrec_server.halting.sums_devices import devices_with_sums
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import BRAKE, TARGETS, channels_of
from pocketrec_server.storage.database import writing

EVERY_S = 300.0
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
    """Make the looks that are due, and halt the arms and releases that broke a guardrail.

    Returns:
        The looks for which an arm or a release was halted.

    Raises:
        PocketRecError: the repository cannot be read, or a halt cannot be signed; the next call
            tries again.
        SQLAlchemyError: the database failed.
    """
    halted: list[Look] = []
    for signed, one in _running(repo, now_utc):
        if one.guardrails and not one.interleave:
            halted += look_at(repo, engine, signers, signed, one, now_utc)
    halted += release_guard.once(repo, engine, signers, now_utc)
    forget_ended(repo, engine, now_utc)
    return halted


def look_at(
    repo: Path, engine: Engine, signers: Signers, signed: Experiments, one: Experiment, now_utc: int
) -> list[Look]:
    """Make the look at one experiment if it is due, and halt the arms that broke a guardrail.

    Args:
        repo: folder of the repository.
        engine: the database.
        signers: signers of the online roles.
        signed: experiments of the channel.
        one: an experiment with guardrails whose arms are not interleaved.
        now_utc: unix seconds; decides which day is due.

    Returns:
        The looks for which an arm was halted.

    Raises:
        PocketRecError: see `once`.
        SQLAlchemyError: the database failed.
    """
    _look(engine, signed, one, now_utc)
    return list(_halt(repo, engine, signers, signed.channel, one, now_utc))


def forget_ended(repo: Path, engine: Engine, now_utc: int) -> None:
    """Delete exposures and looks of experiments and stages of rollouts that have ended.

    Raises:
        PocketRecError: the repository cannot be read.
        SQLAlchemyError: the database failed; nothing was deleted.
    """
    running, stages = _running(repo, now_utc), guarded_stages(repo, now_utc)
    exposed = [exposures.subject_of(one.id, one.salt) for _, one in running]
    with writing(engine) as connection:
        exposures.forget_others(connection, [*exposed, *(one.subject for one in stages)])
        subjects = [subject_of(signed.channel, one) for signed, one in running]
        looks.forget_others(connection, subjects, [one.rollout for one in stages])


def _running(repo: Path, now_utc: int) -> list[tuple[Experiments, Experiment]]:
    """Return each experiment that runs or will run, with all those of its channel."""
    return [
        (signed, one)
        for channel in channels_of(state.load(repo).targets[TARGETS])
        for signed in [read_experiments(repo, channel)]
        for one in signed.experiments
        if one.runs(max(now_utc, one.from_utc))
    ]


def subject_of(channel: str, one: Experiment) -> str:
    """Return the subject of the looks at an experiment."""
    return f"{channel} {one.id} {one.salt}"


def not_looked_texts(engine: Engine, channel: str, one: Experiment) -> list[str]:
    """Describe the guardrails that the last look could not compare.

    Raises:
        SQLAlchemyError: the database failed.
    """
    pairs = [(arm.name, looks.name_of(each)) for arm in one.arms[1:] for each in one.guardrails]
    return looks.not_looked(engine, subject_of(channel, one), pairs)


def due_day(one: Experiment, now_utc: int) -> int | None:
    """Return the day to look at now, from 1; None before the first or after the last one."""
    planned = planned_days(one)
    day = looks.due_day(one.from_utc, planned, now_utc)
    return day if planned <= MOST_LOOKS else None


def planned_days(one: Experiment) -> int:
    """Return the days of an experiment, a part of one counts as one."""
    return max(1, math.ceil((one.until_utc - one.from_utc) / DAY_S))


def _look(engine: Engine, signed: Experiments, one: Experiment, now_utc: int) -> None:
    day, subject = due_day(one, now_utc), subject_of(signed.channel, one)
    if day is None or not looks.claim(engine, subject, day, now_utc):
        return
    until = min(one.from_utc + day * DAY_S, one.until_utc)
    arms = [arm.name for arm in one.arms]
    found = members(engine, exposures.subject_of(one.id, one.salt), arms, one.from_utc, until)
    sums = figures(engine, found, until, signed.conversions)
    others, their_sums = devices_with_sums(engine, signed.channel, one, arms)
    found, sums = found + others, sums | their_sums
    earlier = looks.looks(engine, subject)
    made = []
    for arm in arms[1:]:
        for guardrail in one.guardrails:
            seen = compare(found, sums, one.control.name, arm, guardrail)
            if seen is None:
                continue
            before = [each for each in earlier if each.arm == arm]
            plan = Plan(day=day, days=planned_days(one), alpha=guardrail.alpha)
            level = seen.margin.limit
            made.append(looks.made(subject, arm, guardrail, before, plan, seen, level))
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
            why = looks.reason_of(look, "control")
            subject = f"{channel} {one.id} {look.arm}"
            with audit.noted(engine, audit.SERVER, "experiment-halt", subject, reason=why):
                halt_arm(repo, signers, channel, one, look.arm, why, by=audit.SERVER)
            _LOG.warning("halted arm %s of %s on %s: %s", look.arm, one.id, channel, why)
            yield look
        looks.note_halt(engine, look, now_utc)
