"""Outcomes by network: what halts are judged by, and how much one network may report.

An outcome carries no proof, and one sender can invent any number of them. A sender has few networks
(`networks.py`), though, so the judgement in `halting.py` counts networks and not outcomes.

No address is stored. A network is a keyed hash, HMAC-SHA256 cut to 128 bits, under a random key
that serves one release for `LIFE_HOURS`; then the key and all of its hashes are deleted. So rows of
two releases cannot be linked. While a key lives, whoever has the database can find the networks out
by trying all of them.
"""

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import add, itemgetter
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, or_, select, update

from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import OUTCOME_KEY, OUTCOME_NETWORK, OUTCOME_QUOTA

JUDGED = ("installed", "self_test_failed", "reverted", "download_failed")
"""Kinds of outcomes that halts are judged by; each is a column of the table."""
LIFE_HOURS = 28 * 24
MOST_NETWORKS = 1_000
"""Networks recorded for a release in an hour: enough to know a share to within 2 percent."""
MOST_A_DAY = 1_000
"""Outcomes accepted from one network a day, over all channels and releases."""
_DAY_HOURS = 24

Sums = dict[str, int]


def quota(connection: Connection, network: str, hour: int) -> tuple[dict[str, Any], int]:
    """Return the row of a network's quota of today, locked, and how many outcomes are left.

    It comes first in a transaction: what is too old is forgotten here.
    """
    _forget_old(connection, hour)
    key = _key(connection, "", "", hour)
    row = {"day": hour // _DAY_HOURS, "network": _tag(key, network)}
    made = dialect_of(connection).insert(OUTCOME_QUOTA).values(**row, outcomes=0)
    made = made.on_conflict_do_update(
        index_elements=list(OUTCOME_QUOTA.primary_key),
        set_={"outcomes": OUTCOME_QUOTA.c.outcomes},
    )
    used = connection.execute(made.returning(OUTCOME_QUOTA.c.outcomes)).scalar_one()
    return row, max(MOST_A_DAY - used, 0)


def spend(connection: Connection, row: dict[str, Any], outcomes: int) -> None:
    """Take outcomes off the quota whose row `quota` returned."""
    column = OUTCOME_QUOTA.c
    connection.execute(
        update(OUTCOME_QUOTA)
        .where(column.day == row["day"], column.network == row["network"])
        .values(outcomes=column.outcomes + outcomes)
    )


def record(
    connection: Connection, channel: str, network: str, added: Iterable[tuple[str, str]], hour: int
) -> set[str]:
    """Add new outcomes to the rows of their network.

    Args:
        connection: in a transaction that writes.
        channel: that the device follows.
        network: that the outcomes came from, as `network_of` returns it.
        added: manifest and kind of each.
        hour: unix seconds / 3600.

    Returns:
        Manifests whose rows changed. A network beyond `MOST_NETWORKS` changes none.
    """
    by_manifest: dict[str, Sums] = {}
    for manifest, kind in added:
        if kind in JUDGED:
            by_manifest.setdefault(manifest, Counter())[kind] += 1
    return {
        manifest
        for manifest, sums in sorted(by_manifest.items())
        if _add(connection, channel, manifest, network, sums, hour)
    }


def recent(engine: Engine, channel: str, manifest: str, enough: int) -> list[Sums]:
    """Return what the networks of the last hours reported, see `last_networks`."""
    column = OUTCOME_NETWORK.c
    rows = (
        select(column.hour, column.network, *(column[kind] for kind in JUDGED))
        .where(column.channel == channel, column.manifest == manifest)
        .order_by(column.hour.desc())
    )
    options = {"yield_per": MOST_NETWORKS}
    with (
        engine.connect() as connection,
        connection.execute(rows, None, execution_options=options) as reported,
    ):
        return last_networks(((hour, name, counts) for hour, name, *counts in reported), enough)


def last_networks(rows: Iterable[tuple[int, str, Sequence[int]]], enough: int) -> list[Sums]:
    """Add up networks over as many hours as it takes until there are `enough`, or over all.

    Args:
        rows: hour, network, and its counts of the kinds `JUDGED`; the newest hour first.
        enough: networks.

    Returns:
        One sum by kind for each network.
    """
    found: dict[str, list[int]] = {}
    for _, of_hour in groupby(rows, key=itemgetter(0)):
        for _, network, counts in of_hour:
            before = found.get(network)
            found[network] = list(map(add, before, counts)) if before else list(counts)
        if len(found) >= enough:
            break
    return [dict(zip(JUDGED, counts, strict=True)) for counts in found.values()]


def forget_networks(engine: Engine, channel: str, manifest: str) -> None:
    """Forget what networks reported of a release: it is judged by what they report from now on."""
    with writing(engine) as connection:
        _forget(connection, channel, manifest)


def _add(
    connection: Connection, channel: str, manifest: str, network: str, sums: Sums, hour: int
) -> bool:
    key = _key(connection, channel, manifest, hour)
    of_release = {"channel": channel, "manifest": manifest}
    row = of_release | {"hour": hour, "network": _tag(key, network)}
    here = OUTCOME_NETWORK.c
    changes = {kind: here[kind] + n for kind, n in sums.items()}
    of_row = [here[name] == value for name, value in row.items()]
    if connection.execute(update(OUTCOME_NETWORK).where(*of_row).values(changes)).rowcount:
        return True
    in_hour = select(func.count()).select_from(OUTCOME_NETWORK).where(*of_row[:-1])
    if connection.execute(in_hour).scalar_one() >= MOST_NETWORKS:
        return False
    connection.execute(OUTCOME_NETWORK.insert().values(row | dict.fromkeys(JUDGED, 0) | sums))
    return True


def _key(connection: Connection, channel: str, manifest: str, hour: int) -> bytes:
    """Return the key of a release's hashes, which is made with its first outcome."""
    column = OUTCOME_KEY.c
    made = dialect_of(connection).insert(OUTCOME_KEY).on_conflict_do_nothing()
    connection.execute(
        made.values(channel=channel, manifest=manifest, key=secrets.token_hex(32), hour=hour)
    )
    wanted = select(column.key).where(column.channel == channel, column.manifest == manifest)
    return bytes.fromhex(connection.execute(wanted).scalar_one())


def _forget_old(connection: Connection, hour: int) -> None:
    """Forget keys that have served their time, and all that was hashed with them."""
    column = OUTCOME_KEY.c
    old = select(column.channel, column.manifest).where(
        or_(
            column.hour <= hour - LIFE_HOURS,
            and_(column.manifest == "", column.hour < hour - hour % _DAY_HOURS),
        )
    )
    for channel, manifest in connection.execute(old).all():
        _forget(connection, channel, manifest)
    connection.execute(delete(OUTCOME_QUOTA).where(OUTCOME_QUOTA.c.day < hour // _DAY_HOURS))


def _forget(connection: Connection, channel: str, manifest: str) -> None:
    for table in (OUTCOME_NETWORK, OUTCOME_KEY):
        connection.execute(
            delete(table).where(table.c.channel == channel, table.c.manifest == manifest)
        )


def _tag(key: bytes, network: str) -> str:
    return hmac.digest(key, network.encode(), hashlib.sha256).hex()[:32]
