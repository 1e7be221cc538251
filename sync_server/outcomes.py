"""What became of releases on devices: checked, counted once each, added up by release.

No id of a device comes with an outcome, so what is kept are counts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, Table, delete, func, select

from bundle.rollout import SHA256
from sync_server.database import dialect_of, writing
from sync_server.tables import HALT_MARK, OUTCOME_DAY, OUTCOME_SEEN

KINDS = ("installed", "self_test_failed", "reverted", "download_failed")
MAX_BATCH = 32
SEEN_DAYS = 90
"""So long an outcome that is sent again is known."""
_DAY_S = 86_400
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Counted:
    """Ids that are counted now (or were before), why others are not, and how many are new."""

    ids: list[str]
    rejected: list[dict[str, str]]
    new: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a release does: devices that told of it, by kind."""

    installed: int = 0
    self_test_failed: int = 0
    reverted: int = 0
    download_failed: int = 0

    @property
    def told(self) -> int:
        """Devices that tried to have it; those that reverted had installed it before."""
        return max(self.installed + self.self_test_failed + self.download_failed, self.reverted)

    @property
    def failed(self) -> int:
        """Devices on which it failed."""
        return self.self_test_failed + self.reverted + self.download_failed

    def without(self, other: "Health") -> "Health":
        """The devices that told after others had."""
        mine, theirs = asdict(self), asdict(other)
        return Health(**{kind: max(mine[kind] - theirs[kind], 0) for kind in mine})


def count(
    engine: Engine, channel: str, known: Collection[str], outcomes: list[Any], now_utc: float
) -> Counted:
    """Count what is well formed, in one transaction.

    Args:
        engine: of the database.
        channel: that the device follows.
        known: manifests that the channel's policy names; outcomes of others are rejected.
        outcomes: parsed JSON from the device.
        now_utc: unix seconds.
    """
    rows: dict[str, tuple[str, str]] = {}
    rejected: list[dict[str, str]] = []
    for place, outcome in enumerate(outcomes):
        if reason := why_bad(outcome, known):
            name = outcome.get("id") if isinstance(outcome, dict) else None
            rejected.append({"id": str(name if name is not None else place), "reason": reason})
        else:
            rows[outcome["id"]] = (outcome["manifest"], outcome["outcome"])
    if not rows:
        return Counted([], rejected, 0)
    day = int(now_utc) // _DAY_S
    with writing(engine) as connection:
        seen = dialect_of(connection).insert(OUTCOME_SEEN).on_conflict_do_nothing()
        new = seen.returning(OUTCOME_SEEN.c.id)  # drivers differ in how many rows they say
        added = [
            row
            for id_, row in sorted(rows.items())  # one order, so that no two wait for each other
            if connection.execute(new.values(id=id_, day=day)).first()
        ]
        for (manifest, outcome), devices in sorted(Counter(added).items()):
            made = dialect_of(connection).insert(OUTCOME_DAY)
            sums = {"devices": OUTCOME_DAY.c.devices + made.excluded.devices}
            made = made.on_conflict_do_update(
                index_elements=list(OUTCOME_DAY.primary_key), set_=sums
            )
            key = {"day": day, "channel": channel, "manifest": manifest, "outcome": outcome}
            connection.execute(made.values(**key, devices=devices))
        connection.execute(delete(OUTCOME_SEEN).where(OUTCOME_SEEN.c.day < day - SEEN_DAYS))
    return Counted(list(rows), rejected, len(added))


def healths(engine: Engine, channel: str) -> dict[str, Health]:
    """Add up what is known of each release of a channel, by the hash of its manifest."""
    return _added_up(engine, channel, OUTCOME_DAY)


def since_halt(engine: Engine, channel: str) -> dict[str, Health]:
    """Add up as `healths` does, without what was known when the server halted a release last."""
    before = _added_up(engine, channel, HALT_MARK)
    return {
        manifest: health.without(before.get(manifest, Health()))
        for manifest, health in healths(engine, channel).items()
    }


def mark_halt(engine: Engine, channel: str, manifest: str) -> None:
    """Note what is known of a release that is halted now."""
    known = asdict(healths(engine, channel).get(manifest, Health()))
    with writing(engine) as connection:
        for outcome, devices in known.items():
            made = dialect_of(connection).insert(HALT_MARK)
            made = made.on_conflict_do_update(
                index_elements=list(HALT_MARK.primary_key), set_={"devices": made.excluded.devices}
            )
            key = {"channel": channel, "manifest": manifest, "outcome": outcome}
            connection.execute(made.values(**key, devices=devices))


def _added_up(engine: Engine, channel: str, table: Table) -> dict[str, Health]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    column = table.c
    wanted = (
        select(column.manifest, column.outcome, func.sum(column.devices))
        .where(column.channel == channel)
        .group_by(column.manifest, column.outcome)
    )
    with engine.connect() as connection:
        for manifest, outcome, devices in connection.execute(wanted):
            found[manifest][outcome] = int(devices)
    return {manifest: Health(**sums) for manifest, sums in found.items()}


def why_bad(outcome: Any, known: Collection[str]) -> str:
    """Return why an outcome cannot be counted, or "" if it can."""
    if not isinstance(outcome, dict):
        return "not an object"
    if not isinstance(outcome.get("id"), str) or not _ID.fullmatch(outcome["id"]):
        return "id must be 32 hex digits"
    manifest = outcome.get("manifest")
    if not isinstance(manifest, str) or not SHA256.fullmatch(manifest):
        return "manifest must be 64 hex digits"
    if manifest not in known:
        return "the channel has no such release"
    if outcome.get("outcome") not in KINDS:
        return f"outcome must be one of {', '.join(KINDS)}"
    return ""
