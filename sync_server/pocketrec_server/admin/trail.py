"""The site's history: signed changes of the repository, and entries of the server's audit log.

A signed change, made by a command or by the site, is in the history of its role. The audit log also
has unsigned actions: logins, tokens, and failures. A change by the site is in both, and is shown
once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_server.admin.operations import VERBS
from pocketrec_server.auth import audit
from pocketrec_server.repository import state
from pocketrec_server.repository.history import Change, whole_history

SIGNED, NOTED = "signed", "noted"
MOST_SCANNED = 20_000
"""Maximum lines that one filtered page looks at; `older` then continues after them."""
_SAME_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the history.

    Attributes:
        at_utc: time of the action, unix seconds.
        who: name that the person gave, or name of the token.
        action: name of the action.
        place: name of the channel, or "".
        subject: name of the release, key or token.
        before: old state, or "".
        after: new state, or the requested one.
        reason: reason that the person gave, or "".
        outcome: "done", or the error.
        source: SIGNED (with a key), or NOTED (in this server's audit log only).
    """

    at_utc: int
    who: str
    action: str
    place: str
    subject: str
    before: str
    after: str
    reason: str
    outcome: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which lines to show; "" shows all. Upper and lower case are equal.

    Attributes:
        who: text in the name of the person, token or actor.
        action: name of the action.
        place: name of the channel.
        source: SIGNED or NOTED.
        words: text in the subject, the states, the reason or the outcome.
    """

    who: str = ""
    action: str = ""
    place: str = ""
    source: str = ""
    words: str = ""

    def matches(self, line: Line) -> bool:
        """Return whether the page shows a line."""
        text = "\n".join((line.subject, line.before, line.after, line.reason, line.outcome))
        return (
            self.who.lower() in line.who.lower()
            and self.action.lower() in ("", line.action.lower())
            and self.place in ("", line.place)
            and self.source in ("", line.source)
            and self.words.lower() in text.lower()
        )


ALL = Filter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the history.

    Attributes:
        lines: lines of both sources, newest first.
        older: arguments `before` and `left` of the next page; None: this is the last page.
        problem: why the signed changes cannot be read, or "".
    """

    lines: list[Line]
    older: tuple[int, int] | None
    problem: str


def page(
    repo: Path,
    engine: Engine,
    most: int,
    before: int | None = None,
    left: int | None = None,
    only: Filter = ALL,
) -> Page:
    """Read a page of the history.

    Args:
        repo: folder of the repository; may be empty or damaged.
        engine: the database.
        most: maximum number of lines.
        before: number of an entry in the audit log; only older entries are shown.
        left: number of the oldest signed changes to show; newer ones are skipped.
        only: lines to show. A page with few matches may be empty and still have an older one.

    Raises:
        SQLAlchemyError: the database failed.
    """
    every, problem = _signed(repo)
    signed = every if left is None else every[max(0, len(every) - left) :]
    entries = _noted(engine, every, before)
    lines: list[Line] = []
    n = scanned = 0
    entry = next(entries, None)
    while len(lines) < most and scanned < MOST_SCANNED and (n < len(signed) or entry is not None):
        scanned += 1
        if entry is None or (n < len(signed) and signed[n].when_utc >= entry.at_utc):
            one = _of_change(signed[n])
            n += 1
        else:
            one = _of_entry(entry)
            entry = next(entries, None)
        if only.matches(one):
            lines.append(one)
    more = entry is not None or n < len(signed)
    older = (entry.number + 1 if entry else 1, len(signed) - n) if more else None
    return Page(lines=lines, older=older, problem=problem)


def _signed(repo: Path) -> tuple[list[Change], str]:
    """Return all signed changes, newest first, and the error if they cannot be read."""
    if not state.exists(repo):
        return [], ""
    try:
        return whole_history(repo), ""
    except PocketRecError as err:
        return [], str(err)


def _noted(engine: Engine, signed: list[Change], before: int | None) -> Iterator[audit.Entry]:
    """Yield the entries of the audit log that have no signed change."""
    times: dict[tuple[str, str, str], list[int]] = {}
    for change in signed:
        key = (change.action, change.channel, change.manifest or change.subject)
        times.setdefault(key, []).append(change.when_utc)
    for entry in audit.every(engine, before):
        channel, _, subject = entry.subject.partition(" ")
        same = times.get((VERBS.get(entry.action, ""), channel, subject), ())
        is_done = entry.outcome == audit.DONE and entry.action in VERBS
        if not (is_done and any(0 <= utc - entry.at_utc <= _SAME_S for utc in same)):
            yield entry


def _of_change(change: Change) -> Line:
    return Line(
        at_utc=change.when_utc,
        who=change.by or "unknown",
        action=change.action,
        place=change.channel,
        subject=change.subject,
        before=change.before,
        after=change.after,
        reason=change.reason,
        outcome=audit.DONE,
        source=SIGNED,
    )


def _of_entry(entry: audit.Entry) -> Line:
    channel, _, subject = entry.subject.partition(" ")
    subject = subject[:12] if SHA256.fullmatch(subject) else subject
    details = {key: str(value) for key, value in entry.details.items()}
    known = {key: details.pop(key, "") for key in ("release", "from", "to", "reason")}
    rest = ", ".join(f"{key} {value}" for key, value in details.items() if key != "percent")
    return Line(
        at_utc=entry.at_utc,
        who=entry.actor,
        action=VERBS.get(entry.action, entry.action),
        place=channel if entry.action in VERBS else "",
        subject=(known["release"] or subject) if entry.action in VERBS else entry.subject,
        before=known["from"],
        after=known["to"] or rest,
        reason=known["reason"],
        outcome=entry.outcome,
        source=NOTED,
    )
