"""The budget log: which campaign was shown when, so that none is shown too often on a day.

A table of the event log's file, encrypted, retained, exported and erased with it. It is never sent:
what a publisher may count are impressions, which go up with consent only.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketrec_edge.events.cipher import Cipher, decrypt, encrypt

DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A campaign's item was shown; ts is unix seconds."""

    campaign: str
    ts: int


def add(
    connection: sqlite3.Connection, cipher: Cipher | None, campaigns: Sequence[str], ts: int
) -> None:
    """Note one showing of each campaign."""
    rows = [
        (ts, each, None) if cipher is None else (ts, "", encrypt(cipher, each.encode()))
        for each in campaigns
    ]
    connection.executemany("INSERT INTO showing (ts, campaign, sealed) VALUES (?, ?, ?)", rows)


def on_day(connection: sqlite3.Connection, cipher: Cipher | None, now: int) -> dict[str, int]:
    """Return how often each campaign was shown on the day (UTC) of a moment, in unix seconds."""
    start = now - now % DAY_S
    rows = connection.execute(
        "SELECT ts, campaign, sealed FROM showing WHERE ts >= ? AND ts < ?", (start, start + DAY_S)
    )
    return Counter(_showing(cipher, *row).campaign for row in rows)


def export_rows(connection: sqlite3.Connection, cipher: Cipher | None) -> Iterator[Showing]:
    """Yield all showings, oldest first."""
    for row in connection.execute("SELECT ts, campaign, sealed FROM showing ORDER BY ts, rowid"):
        yield _showing(cipher, *row)


def _showing(cipher: Cipher | None, ts: int, campaign: str, sealed: bytes | None) -> Showing:
    if sealed is not None:
        campaign = decrypt(cipher, sealed).decode()
    return Showing(campaign=campaign, ts=ts)
