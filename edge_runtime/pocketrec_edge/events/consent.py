"""The user's consent to uploads. The default is unknown, which means no.

The log keeps every decision with its time and the version of the consent text, because a publisher
must be able to prove consent (GDPR article 7(1)). Withdrawal is as easy as consent (article 7(3))
and final: events that were not sent before it are never sent.
"""

import sqlite3
from dataclasses import dataclass

from pocketrec_edge.events.schema import UNSENT, WITHHELD

UNKNOWN, GRANTED, WITHDRAWN = "unknown", "granted", "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One decision.

    Attributes:
        state: GRANTED, WITHDRAWN or UNKNOWN.
        at: time of the decision, unix seconds.
        terms: version of the consent text that the user saw.
    """

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
    """Record a decision in the caller's transaction; a repeated decision is recorded once."""
    now = current(connection)
    if (now.state, now.terms) == (consent.state, consent.terms):
        return
    connection.execute(
        "INSERT INTO consent (at, state, terms) VALUES (?, ?, ?)",
        (consent.at, consent.state, consent.terms),
    )
    if consent.state == WITHDRAWN:
        connection.execute("UPDATE event SET uploaded = ? WHERE uploaded = ?", (WITHHELD, UNSENT))
