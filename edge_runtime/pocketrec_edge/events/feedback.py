"""What became of the latest impressions, for rules that learn from them on the device."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.events.cipher import Cipher, unseal
from pocketrec_edge.events.event import IMPRESSION, INTERACTION

MOST_EVENTS = 1000
"""Events that are looked at, the latest to be logged; reading them takes a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impressions:
    """Impressions as rows of a release, int32 [n], oldest first; followed: bool [n]."""

    rows: NDArray[np.int32]
    followed: NDArray[np.bool_]


def latest(connection: sqlite3.Connection, cipher: Cipher | None) -> list[tuple[str, bool]]:
    """Return the item of each of the latest impressions, and whether it was followed."""
    found = connection.execute(
        "SELECT kind, item_id, sealed FROM event ORDER BY seq DESC LIMIT ?", (MOST_EVENTS,)
    ).fetchall()
    return outcomes(
        (kind, item_id if sealed is None else unseal(cipher, sealed)[0])
        for kind, item_id, sealed in reversed(found)
    )


def outcomes(events: Iterable[tuple[str, str]]) -> list[tuple[str, bool]]:
    """Tell of each impression whether the user did something with its item before its next one.

    events: kind and item id, oldest first. One impression has one outcome, however much was done.
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
