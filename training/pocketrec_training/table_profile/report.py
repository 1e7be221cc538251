"""What a profile says, as lines of text and as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pocketrec_training.table_profile.facts import EventFacts
from pocketrec_training.table_profile.joins import JoinFacts
from pocketrec_training.table_profile.profile import Profile
from pocketrec_training.table_profile.recipe_text import printable, questions, settings_of
from pocketrec_training.table_profile.tables import TableProfile

SEPARATOR_NAMES = {"\t": "tab", " ": "blank", ",": "comma", ";": "semicolon"}


def profile_lines(profile: Profile) -> Iterator[str]:
    """Yield the lines that `pocketrec init` prints, without control characters of the files."""
    yield from map(printable, _lines(profile))


def _lines(profile: Profile) -> Iterator[str]:
    for table in profile.tables:
        yield from _table(table)
        yield ""
    facts = profile.facts
    if not profile.log.sample.whole:
        yield f"The figures below are of {facts.n:,} rows: the file is large, so parts were read."
    if profile.item_join and profile.items:
        yield from _join("items", profile.item_join, profile.items)
    if profile.user_join and profile.users:
        yield from _join("users", profile.user_join, profile.users)
    yield f"{'dates':<9}{_dates(facts)}"
    bands = ", ".join(f"{band}: {n:,}" for band, n in facts.users_by_events.items())
    yield f"{'users':<9}{facts.n_users:,}; by number of events {bands}"
    yield f"{'repeats':<9}{facts.repeat_share:.1%} of the events repeat an item of the user"
    if profile.returns:
        yield f"{'returns':<9}{profile.returns.sentence()}"
    split = profile.proposal.split
    yield f"{'split':<9}{split.value}: {split.why}"
    for key, values in questions(profile):
        told = " or ".join(map(repr, values))
        yield f"{'not sure':<9}{key}: {told}? Choose in the recipe."


def profile_json(profile: Profile) -> dict[str, Any]:
    """Return what was found as an object for programs."""
    facts = profile.facts
    return {
        "name": profile.name,
        "files": [_file(table) for table in profile.tables],
        "items_found": profile.item_join and profile.item_join.share,
        "users_found": profile.user_join and profile.user_join.share,
        "interactions": {
            "rows": profile.log.sample.n_rows,
            "whole": profile.log.sample.whole,
            "users": facts.n_users,
            "items": facts.n_items,
            "first_ts": facts.first_ts,
            "last_ts": facts.last_ts,
            "tied_last_share": facts.tied_last_share,
            "repeat_share": facts.repeat_share,
            "users_by_events": facts.users_by_events,
        },
        "settings": {each.key: each.value for each in settings_of(profile)},
        "returns": profile.returns
        and {"column": profile.returns.column, "rows": profile.returns.n},
        "questions": dict(questions(profile)),
    }


def _file(table: TableProfile) -> dict[str, Any]:
    sample = table.sample
    dialect = sample.dialect
    roles = _roles(table)
    return {
        "file": sample.path.as_posix(),
        "holds": table.holds,
        "rows": sample.n_rows,
        "format": sample.format,
        "layout": sample.layout,
        "separator": dialect and dialect.separator,
        "header": dialect and dialect.header,
        "encoding": dialect and dialect.encoding,
        "columns": [
            {
                "column": each.name,
                "roles": [role for role, name, _ in roles if name == each.name],
                "why": "; ".join(why for _, name, why in roles if name == each.name),
                "samples": each.samples,
                "empty_share": round(each.empty_share, 4),
            }
            for each in table.columns
        ],
    }


def _roles(table: TableProfile) -> list[tuple[str, str, str]]:
    """Return (role, column, why) of a table."""
    both = (*table.roles.items(), *table.item_roles.items())
    return [(role, choice.column, choice.why) for role, choice in both]


def _table(table: TableProfile) -> Iterator[str]:
    sample = table.sample
    about = "" if sample.whole else "about "
    holds = table.holds or f"not used: {table.why}"
    yield f"{sample.path}: {holds}; {about}{sample.n_rows:,} rows; {_written(table)}"
    roles = _roles(table)
    rows = [("column", "role", "why", "values")]
    for column in table.columns:
        here = [(role, why) for role, name, why in roles if name == column.name]
        role = ", ".join(role for role, _ in here)
        why = here[0][1] if here else "not used"
        rows.append((column.name, role, why, "; ".join(column.samples)))
    widths = [min(40, max(len(row[place]) for row in rows)) for place in range(3)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        yield ("  " + "  ".join([*cells, row[3]])).rstrip()


def _written(table: TableProfile) -> str:
    sample = table.sample
    dialect = sample.dialect
    if dialect is None:
        return sample.format
    mark = dialect.separator
    separator = f"separator {SEPARATOR_NAMES.get(mark, mark)}" if mark else "no separator"
    return f"{separator}, {'header' if dialect.header else 'no header'}, {dialect.encoding}"


def _join(what: str, facts: JoinFacts, table: TableProfile) -> Iterator[str]:
    found = f"{facts.found:,} of {facts.n:,} interacted {what} are in {table.sample.path}"
    yield f"{what:<9}{found} ({facts.share:.1%})"
    if facts.found < facts.n:
        yield f"{'':<9}not there: {', '.join(facts.missing)}; there: {', '.join(facts.known)}"
    if facts.change:
        yield (
            f"{'':<9}ids {facts.change}: {facts.found_after:,} of {facts.n:,} would be there. "
            "Write the ids of both files in one way."
        )


def _dates(facts: EventFacts) -> str:
    if facts.first_ts is None or facts.last_ts is None:
        return "no times"
    first, last = (
        datetime.fromtimestamp(each, UTC).date() for each in (facts.first_ts, facts.last_ts)
    )
    tied = f"{facts.tied_last_share:.1%} of the users' last events have the time of the one before"
    told = f"{first} to {last}; {tied}"
    if facts.implausible_times:
        told += f"; {facts.implausible_times:,} times are before 1990 or after 2100"
    return told
