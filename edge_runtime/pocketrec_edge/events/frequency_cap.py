"""Frequency capping: log when a campaign was shown, to limit its showings per day.

A table in the event log's file, with the same encryption, retention, export and erasure. It is
never uploaded. A publisher counts impressions, which are uploaded only with consent.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketrec_bundle.units import DAY_S
from pocketrec_edge.events.cipher import Cipher, decrypt, encrypt


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A showing of a campaign's item.

    Attributes:
        campaign: id of the campaign.
        ts: time of the showing, unix seconds.
    """

    campaign: str
    ts: int


def add(
    connection: sqlite3.Connection, cipher: Cipher | None, campaigns: Sequence[str], ts: int
) -> None:
    """Record one showing of each campaign."""
    rows = [
        (ts, each, None) if cipher is None else (ts, "", encrypt(cipher, each.encode()))
        for each in campaigns
    ]
    connection.executemany("INSERT INTO showing (ts, campaign, sealed) VALUES (?, ?, ?)", rows)


def on_day(connection: sqlite3.Connection, cipher: Cipher | None, now: int) -> dict[str, int]:
    """Return the showings of each campaign on the UTC day of `now` (unix seconds)."""
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
