"""The user's consent to uploads. The default is unknown, which means no.

`SUMS` agrees to sums of experiments only (`pocketrec_edge/experiments/run_sums.py`): no event
leaves the phone, also not later. `GRANTED` agrees to events and to these sums.

The log keeps every decision with its time and the version of the consent text, because a publisher
must be able to prove consent (GDPR article 7(1)). Withdrawal is as easy as consent (article 7(3))
and final: events that were not sent before it are never sent.
"""

import sqlite3
from dataclasses import dataclass
from itertools import pairwise

from pocketrec_edge.events.schema import UNSENT, WITHHELD

UNKNOWN, GRANTED, WITHDRAWN, SUMS = "unknown", "granted", "withdrawn", "sums"
KEEPS_EVENTS = (WITHDRAWN, SUMS)
"""States in which the user said that events stay: those of this time are never sent."""
SENDS_SUMS = (GRANTED, SUMS)
"""States in which sums of experiments are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One decision.

    Attributes:
        state: GRANTED, SUMS, WITHDRAWN or UNKNOWN.
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


def withdrawn_until(made: list[Consent]) -> int:
    """Return the end of the last time in which nothing might be sent, unix seconds; 0: never.

    Only decisions after a withdrawal end it, so a withdrawal that stands has no end yet.
    """
    ends = [
        after.at or 0
        for before, after in pairwise(made)
        if before.state == WITHDRAWN and after.state != WITHDRAWN
    ]
    return max(ends, default=0)


def decide(connection: sqlite3.Connection, consent: Consent) -> None:
    """Record a decision in the caller's transaction; a repeated decision is recorded once."""
    now = current(connection)
    if (now.state, now.terms) == (consent.state, consent.terms):
        return
    connection.execute(
        "INSERT INTO consent (at, state, terms) VALUES (?, ?, ?)",
        (consent.at, consent.state, consent.terms),
    )
    if consent.state in KEEPS_EVENTS:
        connection.execute("UPDATE event SET uploaded = ? WHERE uploaded = ?", (WITHHELD, UNSENT))
