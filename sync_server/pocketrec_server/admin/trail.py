"""The site's history: changes that signed metadata vouches for, and what else the server noted.

Whoever signs a change, by a command anywhere or by the site, adds it to the history that the role's
metadata names. The audit log has what is not signed: who logged in, tokens, and what failed. A
change that the site made is in both, and is shown once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.admin.operations import ACTIONS, VERBS
from pocketrec_server.auth import audit
from pocketrec_server.repository import state
from pocketrec_server.repository.history import Change, whole_history

SIGNED, NOTED = "signed", "noted"
_SAME_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the history.

    Attributes:
        at_utc: unix seconds.
        who: as they state it, or the name of their token.
        action: what was done.
        place: channel, or "".
        subject: name of the release, key or token.
        before: how it was, or "".
        after: how it is since, or what was asked for.
        reason: why, or "".
        outcome: "done", or why not.
        source: SIGNED by a key, or NOTED by this server only.
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
class Page:
    """Some lines, the newest first.

    Attributes:
        lines: of both sources.
        older: where the next page begins, as `before` and `left` of `page`; None: this is the last.
        problem: why the signed changes cannot be read, or "".
    """

    lines: list[Line]
    older: tuple[int, int] | None
    problem: str


def page(
    repo: Path, engine: Engine, most: int, before: int | None = None, left: int | None = None
) -> Page:
    """Read a page of the history.

    Args:
        repo: the repository; may be empty or damaged.
        engine: the database.
        most: lines.
        before: only entries of the audit log with a lower number.
        left: only so many of the oldest signed changes.

    Raises:
        SQLAlchemyError: the database failed.
    """
    every, problem = _signed(repo)
    signed = every if left is None else every[max(0, len(every) - left) :]
    entries = _noted(engine, every, before)
    lines: list[Line] = []
    at = 0
    entry = next(entries, None)
    while len(lines) < most and (at < len(signed) or entry is not None):
        if entry is None or (at < len(signed) and signed[at].when_utc >= entry.at_utc):
            lines.append(_of_change(signed[at]))
            at += 1
        else:
            lines.append(_of_entry(entry))
            entry = next(entries, None)
    more = entry is not None or at < len(signed)
    older = (entry.number + 1 if entry else 1, len(signed) - at) if more else None
    return Page(lines=lines, older=older, problem=problem)


def _signed(repo: Path) -> tuple[list[Change], str]:
    """All signed changes, the newest first, and why they cannot be read."""
    if not state.exists(repo):
        return [], ""
    try:
        return whole_history(repo), ""
    except PocketRecError as err:
        return [], str(err)


def _noted(engine: Engine, signed: list[Change], before: int | None) -> Iterator[audit.Entry]:
    """Entries of the audit log, without those that a signed change says as well."""
    times: dict[tuple[str, str, str], list[int]] = {}
    for change in signed:
        key = (change.action, change.channel, change.manifest)
        times.setdefault(key, []).append(change.when_utc)
    for entry in audit.every(engine, before):
        channel, _, manifest = entry.subject.partition(" ")
        same = times.get((VERBS.get(entry.action, ""), channel, manifest), ())
        is_done = entry.outcome == audit.DONE and entry.action in ACTIONS
        if not (is_done and any(0 <= at - entry.at_utc <= _SAME_S for at in same)):
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
    channel, _, manifest = entry.subject.partition(" ")
    told = {key: str(value) for key, value in entry.details.items()}
    known = {key: told.pop(key, "") for key in ("release", "from", "to", "reason")}
    rest = ", ".join(f"{key} {value}" for key, value in told.items() if key != "percent")
    return Line(
        at_utc=entry.at_utc,
        who=entry.actor,
        action=VERBS.get(entry.action, entry.action),
        place=channel if entry.action in ACTIONS else "",
        subject=(known["release"] or manifest[:12]) if entry.action in ACTIONS else entry.subject,
        before=known["from"],
        after=known["to"] or rest,
        reason=known["reason"],
        outcome=entry.outcome,
        source=NOTED,
    )
