"""The attention line: releases, arms and experiments that need a person.

Halted and failing releases, halted arms, experiments (see `experiments.py`), and too few
reports to judge one. Each entry links to the page of its release or to the experiments. Signed
metadata that has expired, or expires soon, has its own warning in the same place, because devices
reject expired metadata.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import KILLED, Stage
from pocketrec_bundle.units import DAY_S
from pocketrec_server.admin.attention.experiments import BAD, WARN
from pocketrec_server.admin.attention.experiments import notices as experiment_notices
from pocketrec_server.admin.formatting import count, percent, span
from pocketrec_server.experiments.halted_arms import running_arms
from pocketrec_server.halting.circuit_breaker import lacks, published
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.notifications import outbox
from pocketrec_server.notifications.message import Notice
from pocketrec_server.notifications.settings import (
    EXPIRING,
    FAILING,
    HALTED,
    LOW_SAMPLE,
    UNREADABLE,
)
from pocketrec_server.repository import state
from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.roles import (
    ONLINE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    channels_of,
    lifetime,
)
from pocketrec_server.repository.standing import LIVE, standings
from pocketrec_server.storage.tables import OUTCOME_DAY

WINDOW_DAYS = 7
FEWEST_TOLD = 20
"""Minimum reporting devices of a release before its failures are an entry."""
FAILING_SHARE = 0.05
"""Share of failures from which a release without a failure limit is an entry."""
MOST = 6
COMMAND = "pocketrec refresh --repo repo/ --keys keys/"
_PART = 6
"""The warning begins with this part of a role's lifetime: 1 of 7 days for the timestamp."""
_UNREADABLE = "The repository or the database cannot be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact that needs a person.

    Attributes:
        level: BAD or WARN; the CSS class.
        text: the fact, in one sentence without a full stop.
        kind: what it is about, see `notifications.settings`.
        channel: channel of the release, or "".
        manifest: SHA-256 of the release's manifest, or "".
        page: page of the site to link to if it is not that of a release, or "".
        arm: id of an experiment, a slash, and the name of its arm, or of all arms: ""; or "".
    """

    level: str
    text: str
    kind: str
    channel: str = ""
    manifest: str = ""
    page: str = ""
    arm: str = ""


def entries(repo: Path, engine: Engine, now_utc: float) -> list[Entry]:
    """Return what needs attention, the worst first.

    An error page shows them too, so a damaged repository or database is an entry, not an error.
    """
    found: list[Entry] = []
    try:
        if n := outbox.failed_since(engine, int(now_utc) - DAY_S):
            text = f"{count(n)} notifications of the last day were not delivered"
            found.append(Entry(level=WARN, kind="", text=text, page="notifications"))
        names = _channels(repo)
        healths = _recent(engine, int(now_utc) // DAY_S - WINDOW_DAYS + 1)
        for name in names:
            now = published(repo, name)
            halted = {one.manifest for one in now.halts.halted}
            stands = standings(now.policy, halted, now_utc)
            for stage, standing in zip(now.policy.releases, stands, strict=True):
                why = now.halts.reason(stage.manifest)
                if why is not None and stage.state != KILLED:
                    text = f"{stage.name} on {name} is halted: {why}"
                    found.append(_entry(BAD, HALTED, text, name, stage))
                elif standing.state == LIVE:
                    health = healths.get((name, stage.manifest), Health())
                    found += _of_live(engine, name, stage, health)
            found += _of_arms(repo, name, now_utc)
            found += _of_experiments(repo, engine, name, now_utc)
    except (PocketRecError, SQLAlchemyError):
        return [*found, Entry(level=BAD, kind=UNREADABLE, text=_UNREADABLE)]
    return sorted(found, key=lambda entry: entry.level != BAD)


def _of_arms(repo: Path, channel: str, now_utc: float) -> list[Entry]:
    """Return the halted arms of experiments that run."""
    return [
        Entry(
            level=BAD,
            kind=HALTED,
            text=f"Arm {one.arm} of {one.experiment} on {channel} is halted: {one.halted}",
            channel=channel,
            page="experiments",
            arm=f"{one.experiment}/{one.arm}",
        )
        for one in running_arms(repo, channel, now_utc)
        if one.halted is not None
    ]


def _of_experiments(repo: Path, engine: Engine, channel: str, now_utc: float) -> list[Entry]:
    return [
        Entry(
            level=one.level,
            kind=one.kind,
            text=one.text,
            channel=channel,
            page="experiments",
            arm=one.arm,
        )
        for one in experiment_notices(repo, engine, channel, now_utc)
    ]


def _of_live(engine: Engine, channel: str, stage: Stage, health: Health) -> list[Entry]:
    limit = stage.most_failures.share if stage.most_failures else FAILING_SHARE
    found = []
    if health.told >= FEWEST_TOLD and health.failed_share > limit:
        text = (
            f"{stage.name} on {channel} fails: {percent(health.failed_share)} of "
            f"{count(health.told)} reports in {WINDOW_DAYS} days"
        )
        found.append(_entry(BAD, FAILING, text, channel, stage))
    if (lacking := lacks(engine, channel, stage)) is not None:
        text = f"{stage.name} on {channel}: {lacking.partition('. ')[0].rstrip('.')}"
        found.append(_entry(WARN, LOW_SAMPLE, text, channel, stage))
    return found


def _entry(level: str, kind: str, text: str, channel: str, stage: Stage) -> Entry:
    return Entry(level=level, kind=kind, text=text, channel=channel, manifest=stage.manifest)


def _recent(engine: Engine, since_day: int) -> dict[tuple[str, str], Health]:
    """Return the outcomes since a day, by channel and release."""
    column = OUTCOME_DAY.c
    query = (
        select(column.channel, column.manifest, column.outcome, func.sum(column.devices))
        .where(column.day >= since_day)
        .group_by(column.channel, column.manifest, column.outcome)
    )
    sums: dict[tuple[str, str], dict[str, int]] = {}
    with engine.connect() as connection:
        for channel, manifest, outcome, devices in connection.execute(query):
            sums.setdefault((channel, manifest), {})[outcome] = int(devices)
    return {key: Health(**kinds) for key, kinds in sums.items()}


def _channels(repo: Path) -> list[str]:
    """Return the names of all channels, cached until the next publish; empty before the first."""
    if not state.exists(repo):
        return []
    changed = (repo / "metadata" / "timestamp.json").stat()
    return _named(repo, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=16)
def _named(repo: Path, _file: int, _changed_ns: int) -> list[str]:
    return channels_of(state.load(repo).targets[TARGETS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Roles to renew, with the seconds until they expire.

    Attributes:
        expired: expired roles, which devices reject; seconds below 0.
        soon: roles that expire soon.
        keys: keys that `pocketrec refresh` needs to renew all of them.
        by_server: whether a server with these keys renews them automatically.
    """

    expired: tuple[tuple[str, int], ...]
    soon: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    by_server: bool


def banner(repo: Path, now_utc: int) -> Banner | None:
    """Return the warning of a repository; None if no role expires soon."""
    left = {role: expires_utc - now_utc for role, expires_utc in sorted(expiries(repo).items())}
    expired = tuple((role, s) for role, s in left.items() if s <= 0)
    soon = tuple(
        (role, s) for role, s in left.items() if 0 < s < lifetime(role).total_seconds() / _PART
    )
    if not expired and not soon:
        return None
    roles = [role for role, _ in expired + soon]
    needed = dict.fromkeys([*roles, SNAPSHOT, TIMESTAMP])
    return Banner(
        expired=expired,
        soon=soon,
        keys=tuple("two of root" if role == ROOT else role for role in needed),
        by_server=all(role in ONLINE for role in roles),
    )


def notices(repo: Path, engine: Engine, now_utc: float) -> list[Notice]:
    """Return what notifications report: the entries of the line, and expiring metadata."""
    found = [
        Notice(
            kind=entry.kind,
            level=entry.level,
            text=entry.text,
            channel=entry.channel,
            manifest=entry.manifest,
            arm=entry.arm,
        )
        for entry in entries(repo, engine, now_utc)
        if entry.kind
    ]
    if (warning := banner(repo, int(now_utc))) is not None:
        for level, word, roles in (
            (BAD, "Expired metadata", warning.expired),
            (WARN, "Metadata expires soon", warning.soon),
        ):
            named = ", ".join(f"{role} ({span(left)})" for role, left in roles)
            if named:
                found.append(Notice(kind=EXPIRING, level=level, text=f"{word}: {named}"))
    return found
