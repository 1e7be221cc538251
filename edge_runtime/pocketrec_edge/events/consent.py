"""Whether the user agreed that events leave the device. Unknown is the default, and means no.

The log keeps every decision with its time and the version of the text that was shown: who relies
on consent must be able to show it (GDPR article 7(1)). It can be taken back as easily as given
(7(3)), at once and for good: an event that was not sent by then never will be.
"""

import sqlite3
from dataclasses import dataclass

from pocketrec_edge.events.schema import UNSENT, WITHHELD

UNKNOWN, GRANTED, WITHDRAWN = "unknown", "granted", "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One decision; `at` is unix seconds, `terms` the version of the text that was shown."""

    state: str = UNKNOWN
    at: int | None = None
    terms: str | None = None


def current(connection: sqlite3.Connection) -> Consent:
    """Return the last decision."""
    made = decisions(connection)
    return made[-1] if made else Consent()


def decisions(connection: sqlite3.Connection) -> list[Consent]:
    """Return all decisions, oldest first."""
    rows = connection.execute("SELECT state, at, terms FROM consent ORDER BY rowid")
    return [Consent(state=state, at=at, terms=terms) for state, at, terms in rows]


def decide(connection: sqlite3.Connection, consent: Consent) -> None:
    """Note a decision, inside the caller's transaction; the same one again is not noted twice."""
    now = current(connection)
    if (now.state, now.terms) == (consent.state, consent.terms):
        return
    connection.execute(
        "INSERT INTO consent (at, state, terms) VALUES (?, ?, ?)",
        (consent.at, consent.state, consent.terms),
    )
    if consent.state == WITHDRAWN:
        connection.execute("UPDATE event SET uploaded = ? WHERE uploaded = ?", (WITHHELD, UNSENT))
