"""Experiments that need a person: devices that do not fit the shares, no decision, no looks."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_server.admin.attention.figures import devices_by_arm, mismatch
from pocketrec_server.admin.formatting import span
from pocketrec_server.experiments.halted_arms import open_experiments
from pocketrec_server.halting.guard import due_day, not_looked_texts, subject_of
from pocketrec_server.halting.looks import of_last_day
from pocketrec_server.notifications.message import Notice
from pocketrec_server.notifications.settings import EXPIRING, FAILING, LOW_SAMPLE
from pocketrec_server.repository import state

BAD, WARN = "bad", "warn"
LEAST_P = 0.001
"""Below it the sample ratio is beyond chance, as in the report."""
_KEYS = "brake, snapshot and timestamp"
FIRST_DAYS = 2
"""Days of an experiment without a look before its guardrails are an entry."""


def notices(repo: Path, engine: Engine, channel: str, now_utc: float) -> Iterator[Notice]:
    """Yield what needs attention among the open experiments of a channel.

    Raises:
        PocketRecError: the repository cannot be read.
        SQLAlchemyError: the database failed.
    """
    for one in open_experiments(repo, channel) if state.exists(repo) else ():
        name = f"{one.id} on {channel}"
        p = mismatch(one, devices_by_arm(engine, one, now_utc))
        if p is not None and p < LEAST_P:
            text = f"The devices of {name} do not match the shares of its arms (p = {p:.2g})"
            yield Notice(kind=FAILING, level=BAD, text=text, channel=channel, arm=f"{one.id}/")
        if now_utc >= one.until_utc:
            ended = span(one.until_utc - now_utc)
            text = f"{name} ended {ended} and waits for a decision: ship an arm or stop it"
            yield Notice(kind=EXPIRING, level=WARN, text=text, channel=channel, arm=f"{one.id}/")
        else:
            yield from _without_looks(engine, channel, one, int(now_utc))


def _without_looks(engine: Engine, channel: str, one: Experiment, now_utc: int) -> Iterator[Notice]:
    """Yield the arms that the last look could not compare, or that no look was made at all."""
    if not one.guardrails or one.interleave or (due_day(one, now_utc) or 0) < FIRST_DAYS:
        return
    name = f"{one.id} on {channel}"
    if of_last_day(engine, subject_of(channel, one))[0] is None:
        text = f"{name}: no look at its guardrails; the server needs the keys of {_KEYS}"
        yield Notice(kind=LOW_SAMPLE, level=WARN, text=text, channel=channel, arm=f"{one.id}/")
        return
    texts = not_looked_texts(engine, channel, one)
    for arm in one.arms[1:]:
        if of_arm := [text for text in texts if text.startswith(f"{arm.name}, ")]:
            text, where = f"{name}: {of_arm[0]}", f"{one.id}/{arm.name}"
            yield Notice(kind=LOW_SAMPLE, level=WARN, text=text, channel=channel, arm=where)
