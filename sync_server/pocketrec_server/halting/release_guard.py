"""Look at the guardrails of releases once a day, and halt a release that breaks one.

A release is compared with the channel's earlier releases on the same days, in each stage of its
rollout: while some devices are offered it and others are not (docs/decisions/0034).
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.settings.rollout import Stage
from pocketrec_server.auth import audit
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.halting import looks
from pocketrec_server.halting.looks import Look, Plan
from pocketrec_server.halting.network_comparison import compare
from pocketrec_server.halting.networks import forget_networks
from pocketrec_server.halting.release_devices import EARLIER, NEW, devices_of
from pocketrec_server.halting.release_limits import (
    GuardedStage,
    guarded_stage,
    guarded_stages,
    read_guardrails,
)
from pocketrec_server.repository.halts import halt
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import BRAKE

RELEASE = "release"
"""Name of a release's looks in place of an arm's."""
CONTROL = "earlier releases"
MOST_STAGES = 20
_LOG = logging.getLogger("pocketrec_server")


def once(repo: Path, engine: Engine, signers: Signers, now_utc: int) -> list[Look]:
    """Make the looks that are due, and halt the releases that broke a guardrail.

    Returns:
        The looks for which a release was halted.

    Raises:
        PocketRecError: the repository cannot be read, or a halt cannot be signed; the next call
            tries again.
        SQLAlchemyError: the database failed.
    """
    halted: list[Look] = []
    for one in guarded_stages(repo, now_utc):
        _look(repo, engine, one, now_utc)
        halted += _halt(repo, engine, signers, one, now_utc)
    return halted


def looks_at(repo: Path, engine: Engine, channel: str, stage: Stage) -> list[str]:
    """Describe the latest looks at the present stage of a release, a line a guardrail.

    More lines name the guardrails that the last look could not compare.

    Raises the errors of `guarded_stages` and SQLAlchemyError.
    """
    guarded = guarded_stage(repo, channel, stage, time.time())
    if guarded is None:
        return []
    guardrails = read_guardrails(repo, channel).guardrails
    pairs = [(RELEASE, looks.name_of(each)) for each in guardrails]
    return [
        *(looks.text_of(one, CONTROL) for one in looks.latest(engine, guarded.subject)),
        *looks.not_looked(engine, guarded.subject, pairs),
    ]


def alpha_of(alpha: float, stage: int) -> float:
    """Return the part of a rollout's error rate that one of its stages has, from 1.

    The parts of all stages, alpha / 2, alpha / 4 and so on, add up to less than alpha, so that a
    rollout may have any number of stages.
    """
    return float(alpha / 2 ** min(stage, MOST_STAGES))


def _look(repo: Path, engine: Engine, one: GuardedStage, now_utc: int) -> None:
    guardrails = read_guardrails(repo, one.channel)
    day = looks.due_day(one.begin_utc, guardrails.days, now_utc)
    if day is None or not looks.claim(engine, one.subject, day, now_utc):
        return
    until = looks.end_of(one.begin_utc, day)
    conversions = read_experiments(repo, one.channel).conversions
    found = devices_of(engine, one, until, conversions)
    earlier = looks.looks(engine, one.subject)
    stage = len(looks.rounds(engine, one.rollout) | {one.subject})
    made = []
    for guardrail in guardrails.guardrails:
        seen = compare(found.members, found.since, EARLIER, NEW, guardrail, found.past)
        if seen is not None:
            plan = Plan(day=day, days=guardrails.days, alpha=alpha_of(guardrail.alpha, stage))
            level = seen.control
            made.append(looks.made(one.subject, RELEASE, guardrail, earlier, plan, seen, level))
    looks.finish(engine, one.subject, day, made)


def _halt(
    repo: Path, engine: Engine, signers: Signers, one: GuardedStage, now_utc: int
) -> Iterator[Look]:
    """Halt a release with a broken guardrail that was not halted for it yet."""
    for look in looks.looks(engine, one.subject):
        if not look.broken or look.halted_utc is not None:
            continue
        signers[BRAKE]  # raises before the audit log gets an entry for each try
        why, manifest = looks.reason_of(look, CONTROL), one.stage.manifest
        with audit.noted(engine, audit.SERVER, "halt", f"{one.channel} {manifest}", reason=why):
            is_new = halt(repo, signers, one.channel, manifest, why, by=audit.SERVER)
        if is_new:
            forget_networks(engine, one.channel, manifest)
            _LOG.warning("halted %s on %s: %s", one.stage.name, one.channel, why)
            yield look
        looks.note_halt(engine, look, now_utc)
