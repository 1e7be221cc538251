"""Outcomes of releases on devices: validate them, count each once, and add them up by release.

Outcomes carry no device id, so only counts are stored. These counts are for people. The circuit
breaker uses `networks.py`, because one sender can report any number of outcomes.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select

from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_bundle.units import DAY_S
from pocketrec_server.halting import networks as outcome_networks
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import OUTCOME_DAY, OUTCOME_SEEN

APP_TOO_OLD = "app_too_old"
"""The release needs a newer app: neither a success nor a failure of the release."""
KINDS = (*outcome_networks.JUDGED, APP_TOO_OLD)
MAX_BATCH = 32
MAX_BODY_BYTES = 64 << 10
SEEN_DAYS = 90
"""Days for which outcome ids are kept, to recognise repeated outcomes."""
_ID = re.compile(r"[0-9a-f]{32}")

Row = tuple[str, str]
"""Manifest and kind of an outcome."""


@dataclass(frozen=True, slots=True)
class CountReport:
    """Result of counting a batch of outcomes.

    Attributes:
        ids: ids of the counted outcomes, new or known.
        rejected: ids of the rejected outcomes, with a reason.
        new: number of new outcomes.
        to_judge: manifests of releases that the circuit breaker has to check.
    """

    ids: list[str]
    rejected: list[dict[str, str]]
    new: int = 0
    to_judge: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Release health: number of reporting devices by outcome."""

    installed: int = 0
    self_test_failed: int = 0
    reverted: int = 0
    download_failed: int = 0
    app_too_old: int = 0

    @property
    def told(self) -> int:
        """Devices that tried to install it. Devices that reverted had installed it before."""
        return max(self.installed + self.self_test_failed + self.download_failed, self.reverted)

    @property
    def failed(self) -> int:
        """Devices on which it failed."""
        return self.self_test_failed + self.reverted + self.download_failed

    @property
    def failed_share(self) -> float:
        """Failures as a share of the devices that tried to install it, 0..1."""
        return min(self.failed / self.told, 1.0) if self.told else 0.0


def count(
    engine: Engine,
    channel: str,
    known: Collection[str],
    outcomes: list[Any],
    now_utc: float,
    *,
    network: str,
) -> CountReport:
    """Count valid outcomes within the network's quota, in one transaction.

    Args:
        engine: the database.
        channel: channel of the device.
        known: manifests in the channel's policy; outcomes of other releases are rejected.
        outcomes: outcomes as parsed JSON.
        now_utc: current time, unix seconds.
        network: network of the client, see `http/networks.py`.
    """
    rows: dict[str, Row] = {}
    rejected: list[dict[str, str]] = []
    for place, outcome in enumerate(outcomes):
        if reason := why_bad(outcome, known):
            name = outcome.get("id") if isinstance(outcome, dict) else None
            rejected.append({"id": str(name if name is not None else place), "reason": reason})
        else:
            rows[outcome["id"]] = (outcome["manifest"], outcome["outcome"])
    if not rows:
        return CountReport([], rejected)
    hour = int(now_utc) // 3600
    with writing(engine) as connection:
        used, left = outcome_networks.quota(connection, network, hour)
        fresh = _fresh(connection, rows)
        over = fresh[left:]
        added = _add(connection, channel, {id_: rows[id_] for id_ in fresh[:left]}, now_utc)
        outcome_networks.spend(connection, used, len(added))
        changed = outcome_networks.record(connection, channel, network, added, hour)
    reason = f"more than {outcome_networks.MOST_A_DAY} outcomes from this network today"
    return CountReport(
        ids=[id_ for id_ in rows if id_ not in over],
        rejected=[*rejected, *({"id": id_, "reason": reason} for id_ in over)],
        new=len(added),
        to_judge=frozenset(changed),
    )


def _fresh(connection: Connection, ids: Collection[str]) -> list[str]:
    """Return the new ids, sorted so that two writers cannot deadlock."""
    seen = select(OUTCOME_SEEN.c.id).where(OUTCOME_SEEN.c.id.in_(ids))
    return sorted(set(ids).difference(connection.execute(seen).scalars()))


def _add(connection: Connection, channel: str, rows: dict[str, Row], now_utc: float) -> list[Row]:
    """Store ids and add to the counts; return the outcomes that were new."""
    day = int(now_utc) // DAY_S
    seen = dialect_of(connection).insert(OUTCOME_SEEN).on_conflict_do_nothing()
    new = seen.returning(OUTCOME_SEEN.c.id)  # drivers report different numbers of rows
    added = [
        row for id_, row in rows.items() if connection.execute(new.values(id=id_, day=day)).first()
    ]
    for (manifest, outcome), devices in sorted(Counter(added).items()):
        insert = dialect_of(connection).insert(OUTCOME_DAY)
        sums = {"devices": OUTCOME_DAY.c.devices + insert.excluded.devices}
        insert = insert.on_conflict_do_update(
            index_elements=list(OUTCOME_DAY.primary_key), set_=sums
        )
        key = {"day": day, "channel": channel, "manifest": manifest, "outcome": outcome}
        connection.execute(insert.values(**key, devices=devices))
    connection.execute(delete(OUTCOME_SEEN).where(OUTCOME_SEEN.c.day < day - SEEN_DAYS))
    return added


def healths(engine: Engine, channel: str) -> dict[str, Health]:
    """Return the health of each release of a channel, by the hash of its manifest."""
    by_manifest: dict[str, dict[str, int]] = defaultdict(dict)
    column = OUTCOME_DAY.c
    query = (
        select(column.manifest, column.outcome, func.sum(column.devices))
        .where(column.channel == channel)
        .group_by(column.manifest, column.outcome)
    )
    with engine.connect() as connection:
        for manifest, outcome, devices in connection.execute(query):
            by_manifest[manifest][outcome] = int(devices)
    return {manifest: Health(**sums) for manifest, sums in by_manifest.items()}


def why_bad(outcome: Any, known: Collection[str]) -> str:
    """Return why an outcome is not valid; "" if it is valid."""
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
