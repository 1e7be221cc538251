"""Outcomes of the latest impressions, for rules that learn from them on the device."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.events.cipher import Cipher, unseal
from pocketrec_edge.events.event import IMPRESSION, INTERACTION

MOST_EVENTS = 1000
"""Number of latest events to read; reading them takes a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impressions:
    """Impressions of a release's items, oldest first.

    Attributes:
        rows: rows of the items, int32 [n].
        followed: whether an interaction followed, bool [n].
    """

    rows: NDArray[np.int32]
    followed: NDArray[np.bool_]


def latest(connection: sqlite3.Connection, cipher: Cipher | None) -> list[tuple[str, bool]]:
    """Return the item of each latest impression, and whether an interaction followed."""
    # "+": in the order of `seq`; by the index on `kind` SQLite would sort all events.
    found = connection.execute(
        "SELECT kind, item_id, sealed FROM event WHERE +kind IN (?, ?) ORDER BY seq DESC LIMIT ?",
        (INTERACTION, IMPRESSION, MOST_EVENTS),
    ).fetchall()
    return outcomes(
        (kind, item_id if sealed is None else unseal(cipher, sealed)[0])
        for kind, item_id, sealed in reversed(found)
    )


def outcomes(events: Iterable[tuple[str, str]]) -> list[tuple[str, bool]]:
    """Return for each impression whether an interaction followed before the item's next impression.

    Several interactions after one impression count once.

    Args:
        events: kind and item id, oldest first.
    """
    items: list[str] = []
    followed: list[bool] = []
    shown: dict[str, int] = {}
    for kind, item_id in events:
        if kind == IMPRESSION:
            shown[item_id] = len(items)
            items.append(item_id)
            followed.append(False)
        elif kind == INTERACTION and item_id in shown:
            followed[shown[item_id]] = True
    return list(zip(items, followed, strict=True))
