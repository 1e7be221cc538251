"""Ramps that wait for success: is the present stage healthy, and which one is next?

A stage of a release or an experiment is healthy if it has lasted long enough, if enough networks
reported since it began to be judged, and if nothing was halted or is about to be.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import RUNNING, Experiment
from pocketrec_bundle.settings.rollout import ACTIVE, FailureLimit, Stage
from pocketrec_bundle.units import DAY_S
from pocketrec_server.experiments.halted_arms import read_halted_arms
from pocketrec_server.halting import looks
from pocketrec_server.halting.circuit_breaker import (
    FEWEST_NETWORKS,
    networks_of,
    why_halt,
)
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, name_of
from pocketrec_server.halting.release_limits import guarded_stage, read_guardrails
from pocketrec_server.repository.history import policy_history
from pocketrec_server.repository.publish import read_halts

_RAMPED = ("experiment-start", "experiment-ramp", "experiment-resume", "experiment-unhalt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Conditions of the next stage.

    Attributes:
        networks: minimum networks that reported.
        days: minimum length of the present stage.
    """

    networks: int
    days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the present stage allows the next one.

    Attributes:
        why: why it does not; None: the next stage may begin.
        is_harm: the reason is a halt or a broken guardrail, not a lack of reports.
    """

    why: str | None = None
    is_harm: bool = False


def next_step(steps: Sequence[float], percent: float) -> float | None:
    """Return the first step above a percentage; None after the last one.

    Raises:
        InputError: the steps do not rise.
    """
    if not steps or list(steps) != sorted(set(steps)):
        raise InputError("--steps: expected rising percentages, such as 1,10,50,100.")
    return next((step for step in steps if step > percent), None)


def of_experiment(
    repo: Path, engine: Engine, channel: str, one: Experiment, wait: Wait, now_utc: float
) -> Verdict:
    """Judge the present stage of an experiment.

    Args:
        repo: folder of the repository.
        engine: the database.
        channel: of the experiment.
        one: the experiment.
        wait: conditions.
        now_utc: unix seconds.

    Raises:
        InputError: the experiment has no guardrail, so it is never judged, or it does not run.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    if one.state != RUNNING or not one.runs(now_utc):
        raise InputError(f"{one.id}: is {one.state} or out of its time, so no device enters it.")
    if not one.guardrails or one.interleave:
        raise InputError(
            f"{one.id}: has no guardrail that the server looks at. Add [[guardrails]], or use "
            "`pocketrec experiment ramp`."
        )
    halted = read_halted_arms(repo, channel)
    for arm in one.arms:
        if (why := halted.reason(one, arm.name)) is not None:
            return Verdict(why=f"arm {arm.name} is halted: {why}", is_harm=True)
    since_utc = experiment_since(repo, channel, one)
    _, last = looks.of_last_day(engine, subject_of(channel, one))
    found = {(look.arm, look.guardrail): look for look in last}
    for arm in one.arms[1:]:
        for guardrail in one.guardrails:
            look = found.get((arm.name, name_of(guardrail)))
            what = f"{guardrail.metric} of arm {arm.name}"
            verdict = _of_look(what, look, wait, one.from_utc, since_utc)
            if verdict.why is not None:
                return verdict
    return Verdict()


def _of_look(what: str, look: Look | None, wait: Wait, begin_utc: int, since_utc: int) -> Verdict:
    """Judge the latest look at one guardrail.

    Args:
        what: is compared, for people.
        look: the latest look, or None.
        wait: conditions.
        begin_utc: begin of the days that the looks count.
        since_utc: begin of the present stage.
    """
    if look is None:
        return Verdict(why=f"{what} was not compared yet: too few networks")
    if look.z > look.bound:
        return Verdict(why=f"{what} is beyond its limit", is_harm=True)
    if look.networks < wait.networks:
        return Verdict(why=f"{what}: {look.networks} of {wait.networks} networks")
    if looks.end_of(begin_utc, look.day) < since_utc + wait.days * DAY_S:
        return Verdict(why=f"{what}: no look {wait.days:g} days after the last stage yet")
    return Verdict()


def of_release(repo: Path, engine: Engine, channel: str, stage: Stage, wait: Wait) -> Verdict:
    """Judge the present stage of a release by its failure limit and the channel's guardrails.

    Raises:
        InputError: the release has no failure limit and no guardrail applies to it, so it is never
            judged, or it is not active.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    if stage.state != ACTIVE:
        raise InputError(f"{stage.name}: is {stage.state}, so no device installs it.")
    guarded = guarded_stage(repo, channel, stage, time.time())
    if stage.most_failures is None and guarded is None:
        raise InputError(
            f"{stage.name}: has no failure limit, and no guardrail compares it. Set a limit: "
            f"pocketrec rollout stage {stage.name} --halt-above 0.05"
        )
    if (halted := read_halts(repo, channel).reason(stage.manifest)) is not None:
        return Verdict(why=f"is halted: {halted}", is_harm=True)
    if guarded is not None:
        found = {look.guardrail: look for look in looks.of_last_day(engine, guarded.subject)[1]}
        for guardrail in read_guardrails(repo, channel).guardrails:
            look, begin = found.get(name_of(guardrail)), guarded.begin_utc
            verdict = _of_look(guardrail.metric, look, wait, begin, begin)
            if verdict.why is not None:
                return verdict
    if (limit := stage.most_failures) is not None:
        return _of_failures(repo, engine, channel, stage, limit, wait)
    return Verdict()


def _of_failures(
    repo: Path, engine: Engine, channel: str, stage: Stage, limit: FailureLimit, wait: Wait
) -> Verdict:
    networks = networks_of(engine, channel, stage.manifest, limit)
    if (why := why_halt(limit, networks)) is not None:
        return Verdict(why=why, is_harm=True)
    reporting, least = sum(1 for one in networks if one.told), max(wait.networks, FEWEST_NETWORKS)
    if reporting < least:
        return Verdict(why=f"{reporting} of {least} networks reported")
    failed = sum(one.failed_share for one in networks) / len(networks)
    if failed > limit.share:
        return Verdict(why=f"{failed:.1%} of devices failed, the mean of networks", is_harm=True)
    since = release_since(repo, channel, stage)
    if time.time() < since + wait.days * DAY_S:
        return Verdict(why=f"the present stage is younger than {wait.days:g} days")
    return Verdict()


def experiment_since(repo: Path, channel: str, one: Experiment) -> int:
    """Return when the present stage of an experiment began, unix seconds.

    Raises the errors of `policy_history`.
    """
    for change in policy_history(repo, channel):
        if change.action in _RAMPED and change.subject.split(" ")[0] == one.id:
            return change.when_utc
    return one.from_utc


def release_since(repo: Path, channel: str, stage: Stage) -> int:
    """Return when the settings of a release changed last, unix seconds; 0 if it is not known.

    Raises the errors of `policy_history`.
    """
    for change in policy_history(repo, channel):
        if stage.manifest == change.manifest:
            return change.when_utc
    return 0
