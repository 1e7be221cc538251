"""The role of each column of interactions: user, item, timestamp, event, value, split."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pocketrec_training.data.folds import FOLD_WORDS, TEST, TRAIN
from pocketrec_training.table_profile import names
from pocketrec_training.table_profile.columns import ColumnProfile

MAX_EVENTS = 20
"""More distinct texts are not event types."""
FEW_ROWS = 20
"""In a table of fewer rows, ids need not repeat."""
JOINED = 0.5
"""Agreement with the ids of another table, above which a column holds these ids."""
SURE = 1.0
"""Lead over the next column, below which a person has to choose."""
_ASIN = re.compile(r"B[0-9A-Z]{9}|\d{9}[\dX]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The column of a role.

    Attributes:
        column: name in the file.
        why: for the table that is printed.
        others: columns that are about as likely; then a person has to choose.
    """

    column: str
    why: str
    others: tuple[str, ...] = ()


Roles = dict[str, Choice]


def interaction_roles(
    columns: Sequence[ColumnProfile], joins: Mapping[str, float], *, named: bool
) -> Roles:
    """Return role -> column of a table of interactions; empty if it has no user or no item.

    Args:
        columns: of the table.
        joins: column -> how well its values agree with the ids of another table, 0 to 1.
        named: whether the table has a header.
    """
    roles: Roles = {}
    if found := _time(columns, named=named):
        roles["timestamp"] = found
    if named and (found := _split(columns)):
        roles["split"] = found
    if found := _event(columns, named=named):
        roles["event"] = found
    if found := _value(columns, named=named, ids=joins):
        roles["value"] = found
    taken = {choice.column for choice in roles.values()}
    ids = [column for column in columns if column.name not in taken and can_be_id(column)]
    pair = _pair(ids, joins, named=named)
    return roles | pair if pair else {}


def can_be_id(column: ColumnProfile) -> bool:
    """Return whether a column may hold ids of users or items, each in several rows."""
    is_id = column.whole or not column.is_numeric
    is_short = column.length <= 100 and column.words <= 8
    repeats = not column.is_unique or column.n < FEW_ROWS
    return column.n_distinct >= 2 and is_id and is_short and repeats and not column.is_object


def _time(columns: Sequence[ColumnProfile], *, named: bool) -> Choice | None:
    best: tuple[float, int, ColumnProfile] | None = None
    for place, column in enumerate(columns):
        if column.time is None or (not named and not column.time.is_recent):
            continue
        is_named = names.is_time_name(column.name)
        score = 2.0 * is_named + 0.5 * (column.time.unit != "date") + 0.1 * bool(column.time.unit)
        # Ids may look like seconds; a column with another usual name is not a time.
        if not is_named and _has_other_name(column.name):
            continue
        if best is None or (score, -place) > best[:2]:
            best = score, -place, column
    if best is None:
        unread = [each for each in columns if named and _should_be_time(each)]
        if not unread:
            return None
        why = f"no known form of time, such as {unread[0].samples[0]}"
        return Choice(column="", why=why, others=(unread[0].name,))
    column = best[2]
    assert column.time is not None
    return Choice(column=column.name, why=column.time.told)


def _should_be_time(column: ColumnProfile) -> bool:
    return names.plain_name(column.name) in names.TIME and column.n > 0


def _has_other_name(name: str) -> bool:
    words = names.USER | names.ITEM | names.SESSION | names.VALUE
    return names.is_named(name, words)


def _split(columns: Sequence[ColumnProfile]) -> Choice | None:
    """Return the column that says train and test of each row."""
    for column in columns:
        if not names.is_named(column.name, names.SPLIT):
            continue
        counts = Counter[int]()
        for value, n in column.counts.items():
            counts[next((f for f, words in FOLD_WORDS.items() if value.lower() in words), -1)] += n
        # Numbers alone are as likely the folds of a cross-validation.
        if {TRAIN, TEST} <= counts.keys() and -1 not in counts and not column.is_numeric:
            told = ", ".join(f"{FOLD_WORDS[fold][0]} {n:,}" for fold, n in sorted(counts.items()))
            return Choice(column=column.name, why=told)
    return None


def _event(columns: Sequence[ColumnProfile], *, named: bool) -> Choice | None:
    for column in columns:
        few = 1 <= column.n_distinct <= MAX_EVENTS and column.n > 4 * column.n_distinct
        if not few or column.is_list or column.is_object or column.time is not None:
            continue
        words = all(re.fullmatch(r"[^\W\d][\w -]{2,30}", value) for value in column.counts)
        is_named = names.is_named(column.name, names.EVENT)
        if is_named or (not named and words and column.n_distinct > 1):
            most = column.counts.most_common(4)
            told = ", ".join(f"{value} {n:,}" for value, n in most)
            rest = column.n_distinct - len(most)
            return Choice(column=column.name, why=told + (f", {rest} more" if rest else ""))
    return None


def _value(
    columns: Sequence[ColumnProfile], *, named: bool, ids: Mapping[str, float]
) -> Choice | None:
    found = None
    for column in columns:
        if not column.is_numeric or column.n_distinct < 2 or column.rising:
            continue
        if named and names.is_named(column.name, names.VALUE):
            if found is None or names.is_named(column.name, names.RATING):
                found = column
        elif not named and column.time is None and ids.get(column.name, 0.0) < JOINED:
            ratings = column.n_distinct <= 21 and column.low >= -1 and column.high <= 100
            if found is None and (ratings or not column.whole):
                found = column
    if found is None:
        return None
    kind = "ratings" if is_rating(found) else "counts or amounts"
    return Choice(
        column=found.name,
        why=f"{kind}: {found.n_distinct:,} numbers, {found.low:g} to {found.high:g}",
    )


def is_rating(column: ColumnProfile) -> bool:
    """Return whether numbers are ratings on a scale, and not counts or amounts."""
    if names.is_named(column.name, names.RATING):
        return column.high <= 100 and column.low >= -1
    if names.is_named(column.name, names.VALUE) and names.plain_name(column.name) != "value":
        return False
    return column.n_distinct <= 21 and column.low >= -1 and column.high <= 10


def _pair(ids: Sequence[ColumnProfile], joins: Mapping[str, float], *, named: bool) -> Roles:
    """Choose the columns of user and item together."""
    users = {each.name: _user_score(each, place) for place, each in enumerate(ids)}
    items = {each.name: _item_score(each, joins, place) for place, each in enumerate(ids)}
    if not named:  # the two with the most values, in the order of the file
        most = sorted(ids, key=lambda each: -each.n_distinct)[:2]
        kept = {each.name for each in most} | {
            name for name, share in joins.items() if share > JOINED
        }
        users = {name: score for name, score in users.items() if name in kept}
        items = {name: score for name, score in items.items() if name in kept}
    pairs = sorted(
        (
            (u + i, user, item)
            for user, u in users.items()
            for item, i in items.items()
            if user != item
        ),
        key=lambda each: -each[0],
    )
    if not pairs:
        return {}
    best, user, item = pairs[0]
    profile = {each.name: each for each in ids}
    near_items = tuple(i for s, u, i in pairs[1:] if u == user and best - s < SURE and named)
    near_users = tuple(u for s, u, i in pairs[1:] if i == item and best - s < SURE and named)
    return {
        "user": Choice(
            column=user,
            why=_id_told(profile[user], names.is_named(user, names.USER | names.SESSION)),
            others=near_users,
        ),
        "item": Choice(
            column=item,
            why=_id_told(profile[item], names.is_named(item, names.ITEM)),
            others=near_items,
        ),
    }


def _user_score(column: ColumnProfile, place: int) -> float:
    score = 4.0 if names.is_named(column.name, names.USER) else 0.0
    score += 2.5 if not score and names.is_named(column.name, names.SESSION) else 0.0
    score -= 4.0 if names.is_named(column.name, names.ITEM) else 0.0
    return score + (0.6 if place == 0 else 0.0) - 0.5 * column.empty_share


def _item_score(column: ColumnProfile, joins: Mapping[str, float], place: int) -> float:
    score = 4.0 if names.is_named(column.name, names.ITEM) else 0.0
    score -= 4.0 if names.is_named(column.name, names.USER | names.SESSION) else 0.0
    score -= 1.0 if names.is_named(column.name, names.CATEGORIES | names.EVENT) else 0.0
    score += 3.0 * joins.get(column.name, 0.0)
    some = [*islice(column.counts, 100)]
    score += 2.0 if all(_ASIN.fullmatch(value) for value in some) else 0.0
    score += 0.3 if place == 1 else 0.0
    return score - column.empty_share - (0.5 if column.is_list else 0.0)


def _id_told(column: ColumnProfile, is_named: bool) -> str:
    how = "by its name" if is_named else "by its values"
    return f"{how}, {column.n_distinct:,} values"
