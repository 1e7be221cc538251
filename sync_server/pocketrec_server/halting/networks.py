"""Outcomes by network: the input of the circuit breaker, and the quota of each network.

An outcome carries no proof, and one sender can invent any number of them. But a sender has few
networks (`http/networks.py`), so `circuit_breaker.py` counts networks, not outcomes.

No address is stored. A network is a keyed hash: HMAC-SHA256 cut to 128 bits, with a random key for
each release. After `LIFE_HOURS` the key and its hashes are deleted. So rows of two releases cannot
be linked. While a key exists, a person with the database can find the networks by trying all.
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
"""Kinds of outcomes that count for a halt; each is a column of the table."""
LIFE_HOURS = 28 * 24
MOST_NETWORKS = 1_000
"""Maximum networks of a release per hour: enough to estimate a share within 2 percent."""
MOST_A_DAY = 1_000
"""Maximum outcomes of one network per day, over all channels and releases."""
_DAY_HOURS = 24

Sums = dict[str, int]


def quota(connection: Connection, network: str, hour: int) -> tuple[dict[str, Any], int]:
    """Lock a network's quota of today; return its row and the number of outcomes left.

    Call it first in a transaction: it also deletes expired rows.
    """
    _forget_old(connection, hour)
    key = _key(connection, "", "", hour)
    row = {"day": hour // _DAY_HOURS, "network": _tag(key, network)}
    insert = dialect_of(connection).insert(OUTCOME_QUOTA).values(**row, outcomes=0)
    insert = insert.on_conflict_do_update(
        index_elements=list(OUTCOME_QUOTA.primary_key),
        set_={"outcomes": OUTCOME_QUOTA.c.outcomes},
    )
    used = connection.execute(insert.returning(OUTCOME_QUOTA.c.outcomes)).scalar_one()
    return row, max(MOST_A_DAY - used, 0)


def spend(connection: Connection, row: dict[str, Any], outcomes: int) -> None:
    """Take outcomes from the quota whose row `quota` returned."""
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
        connection: connection in a writing transaction.
        channel: channel of the device.
        network: network of the client, as `network_of` returns it.
        added: manifest and kind of each outcome.
        hour: unix seconds / 3600.

    Returns:
        Manifests whose rows changed. Networks above `MOST_NETWORKS` are not recorded.
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
    """Return the outcomes of the networks that reported last, see `last_networks`."""
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
    """Add up the newest hours until there are `enough` networks, or no more hours.

    Args:
        rows: hour, network, and its counts of the kinds `JUDGED`; newest hour first.
        enough: number of networks.

    Returns:
        The sums by kind of each network.
    """
    by_network: dict[str, list[int]] = {}
    for _, of_hour in groupby(rows, key=itemgetter(0)):
        for _, network, counts in of_hour:
            before = by_network.get(network)
            by_network[network] = list(map(add, before, counts)) if before else list(counts)
        if len(by_network) >= enough:
            break
    return [dict(zip(JUDGED, counts, strict=True)) for counts in by_network.values()]


def forget_networks(engine: Engine, channel: str, manifest: str) -> None:
    """Delete the outcomes by network of a release: only new outcomes count for the next halt."""
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
    """Return the key of a release's hashes, created with its first outcome."""
    column = OUTCOME_KEY.c
    insert = dialect_of(connection).insert(OUTCOME_KEY).on_conflict_do_nothing()
    connection.execute(
        insert.values(channel=channel, manifest=manifest, key=secrets.token_hex(32), hour=hour)
    )
    query = select(column.key).where(column.channel == channel, column.manifest == manifest)
    return bytes.fromhex(connection.execute(query).scalar_one())


def _forget_old(connection: Connection, hour: int) -> None:
    """Delete expired keys and the rows that were hashed with them."""
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
