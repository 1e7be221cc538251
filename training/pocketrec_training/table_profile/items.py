"""The role of each column of a table of items: item_id, title, categories, price, year."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from pocketrec_training.table_profile import names
from pocketrec_training.table_profile.columns import ColumnProfile
from pocketrec_training.table_profile.roles import Choice, Roles

SEPARATORS = ("|", ";", ", ", ",", " > ", " / ", " ")
LOOKED_AT = 1000


def item_roles(columns: Sequence[ColumnProfile], item_id: str, *, named: bool) -> Roles:
    """Return role -> column of a table of items.

    Args:
        columns: of the table.
        item_id: the column of the item's id.
        named: whether the table has a header.
    """
    roles: Roles = {}
    rest = [each for each in columns if each.name != item_id and each.n and not each.is_object]
    for role, found in (
        ("title", _title(rest, named=named)),
        ("year", _year(rest, named=named)),
        ("price", _price(rest)),
    ):
        if found:
            roles[role] = found
            rest = [each for each in rest if each.name != found.column]
    if found := _categories(rest, named=named):
        roles["categories"] = found
    return roles


def is_text(column: ColumnProfile) -> bool:
    """Return whether values are words to read, not numbers, links or times."""
    some = [*islice(column.counts, 50)]
    links = sum(value.startswith(("http", "www.", "{", "[")) for value in some)
    return column.numeric_share < 0.5 and column.time is None and links < 0.2 * max(len(some), 1)


def separator_of(column: ColumnProfile) -> str:
    """Return the separator of category names; empty if each value is one name or a list."""
    if column.is_list:
        return "|"
    if column.name.endswith(":token_seq"):
        return " "
    values = [*islice(column.counts.items(), LOOKED_AT)]
    total = sum(n for _, n in values)
    for separator in SEPARATORS:
        parts = Counter[str]()
        for value, n in values:
            for part in value.split(separator):
                parts[part.strip()] += n
        several = sum(n for value, n in values if separator in value)
        # Names repeat; the parts of a text with commas do not.
        if several < 0.05 * total or len(parts) > 0.5 * parts.total():
            continue
        alone = {value for value, _ in values}
        if separator == " " and sum(part in alone for part in parts) < 0.8 * len(parts):
            continue  # words of one name, such as `Science Fiction`
        return separator
    return ""


def _title(columns: Sequence[ColumnProfile], *, named: bool) -> Choice | None:
    texts = [each for each in columns if is_text(each) and not each.is_list]
    by_name = [each for each in texts if names.is_named(each.name, names.TITLE)]
    if by_name and named:
        # `title` before `description`: the shorter text.
        best = min(by_name, key=lambda each: (each.length > 150, by_name.index(each)))
        return Choice(column=best.name, why="by its name")
    likely = [
        each
        for each in texts
        if each.n_distinct > 0.5 * each.n and 2 <= each.words <= 25 and each.length <= 150
    ]
    if likely and not separator_of(likely[0]):
        return Choice(column=likely[0].name, why=f"texts of about {likely[0].words:.0f} words")
    return None


def _categories(columns: Sequence[ColumnProfile], *, named: bool) -> Choice | None:
    def order(column: ColumnProfile) -> int:
        name = names.stem(column.name)
        places = names.CATEGORY_ORDER
        late = len(places) + (name in ("brand", "type", "subcategory"))
        return places.index(name) if name in places else late

    likely = [
        each
        for each in columns
        if (names.is_named(each.name, names.CATEGORIES) if named else _repeats(each))
        and (is_text(each) or each.is_list)
        and each.length <= 300
    ]
    if not likely:
        return None
    best = min(likely, key=order)
    mark = separator_of(best)
    how = f"separated by {mark!r}" if mark and not best.is_list else "one name each"
    if best.is_list:
        how = "lists"
    found = {part.strip() for value in best.counts for part in _split(value, mark)}
    return Choice(column=best.name, why=f"{len(found):,} names, {how}")


def _split(value: str, mark: str) -> list[str]:
    return value.split(mark) if mark else [value]


def _repeats(column: ColumnProfile) -> bool:
    """Return whether some hundred names make all values."""
    mark = separator_of(column)
    found = {part.strip() for value in column.counts for part in _split(value, mark)}
    return 1 < len(found) <= max(30, 0.2 * column.n) and column.words / max(len(found), 1) < 10


def _price(columns: Sequence[ColumnProfile]) -> Choice | None:
    for column in columns:
        if not names.is_named(column.name, names.PRICE):
            continue
        if column.is_numeric:
            return Choice(column=column.name, why=f"by its name, {column.low:g} to {column.high:g}")
    return None


def _year(columns: Sequence[ColumnProfile], *, named: bool) -> Choice | None:
    for column in columns:
        good = [
            v for v in islice(column.counts, LOOKED_AT) if re.fullmatch(r"(18|19|20)\d\d(\.0)?", v)
        ]
        share = len(good) / max(min(column.n_distinct, LOOKED_AT), 1)
        by_name = named and names.is_named(column.name, names.YEAR)
        if share >= (0.5 if by_name else 0.98) and (by_name or not named) and len(good) > 3:
            return Choice(column=column.name, why=f"{min(good)} to {max(good)}")
    return None
