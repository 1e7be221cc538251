"""Which of the files holds the interactions, which the items and which the users."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketrec_training.data.folds import TEST, TRAIN, VALID
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.table_profile import names
from pocketrec_training.table_profile.columns import ColumnProfile, profile_columns
from pocketrec_training.table_profile.held_out import split_files
from pocketrec_training.table_profile.items import is_text, item_roles
from pocketrec_training.table_profile.joins import agreement
from pocketrec_training.table_profile.layouts import one_item_a_row, user_items
from pocketrec_training.table_profile.roles import Choice, Roles, can_be_id, interaction_roles
from pocketrec_training.table_profile.sample import TableSample, read_sample

HOLDS = {VALID: "validation interactions", TEST: "test interactions"}
"""What files of a split hold, beside the training interactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProfile:
    """One file: its rows, the facts of its columns, and what it is used for.

    Attributes:
        holds: "interactions", "items", "users", one of `HOLDS`, or empty (not used).
        roles: role -> column.
        item_roles: of a file of interactions that describes its items too.
        why: why the file is not used.
    """

    sample: TableSample
    columns: list[ColumnProfile] = field(repr=False)
    holds: str = ""
    roles: Roles = field(default_factory=dict)
    item_roles: Roles = field(default_factory=dict)
    why: str = ""

    @property
    def named(self) -> bool:
        """Whether the file names its columns."""
        return self.sample.dialect is None or self.sample.dialect.header

    def column(self, role: str) -> ColumnProfile | None:
        """Return the facts of the column of a role; None if no column has it."""
        choice = self.roles.get(role) or self.item_roles.get(role)
        if choice is None or not choice.column:
            return None
        return next(each for each in self.columns if each.name == choice.column)


def profile_tables(paths: Sequence[Path]) -> list[TableProfile]:
    """Read samples of files and find what each holds.

    Raises:
        TableInvalidError: a file cannot be read, or none has a user and an item in each row.
    """
    samples = [one_item_a_row(read_sample(path)) for path in paths]
    every = [TableProfile(sample=each, columns=profile_columns(each)) for each in samples]
    splits = split_files(paths)
    parts = {path for split in splits for fold, path in split.items() if fold != TRAIN}
    found = _of_tables([table for table in every if table.sample.path not in parts])
    log = next(table for table in found if table.holds == "interactions")
    split = next((split for split in splits if split[TRAIN] == log.sample.path), {})
    folds = {path: fold for fold, path in split.items() if fold != TRAIN}
    held_out = [table for table in every if table.sample.path in folds]
    if parts and not (held_out and all(_alike(log, table) for table in held_out)):
        return _of_tables(every)  # the names mean something else
    by_path = {table.sample.path: table for table in found}
    for table in every:
        if (path := table.sample.path) in folds:
            by_path[path] = _as_held_out(table, log, folds[path])
        elif path in parts:
            by_path[path] = _with(table, why="the file of the same name for training is used")
    return [by_path[table.sample.path] for table in every]


def _as_held_out(table: TableProfile, log: TableProfile, fold: int) -> TableProfile:
    if log.sample.layout == "user_items" != table.sample.layout:
        sample = user_items(table.sample)
        table = TableProfile(sample=sample, columns=profile_columns(sample))
    return _with(table, holds=HOLDS[fold], roles=log.roles)


def _alike(log: TableProfile, other: TableProfile) -> bool:
    """Return whether two files may be parts of one table; short ones hide a layout of lines."""
    names_of = [[column.name for column in table.columns] for table in (log, other)]
    return log.sample.layout == "user_items" or names_of[0] == names_of[1]


def _of_tables(tables: Sequence[TableProfile]) -> list[TableProfile]:
    roles = [_roles(table, [o for o in tables if o is not table]) for table in tables]
    scores = [_score(table, found) for table, found in zip(tables, roles, strict=True)]
    best = max(range(len(tables)), key=scores.__getitem__)
    if not roles[best]:
        raise TableInvalidError(_nothing(tables))
    log = _with(tables[best], holds="interactions", roles=roles[best])
    rest = [table for place, table in enumerate(tables) if place != best]
    items = _side_table(log, rest, "item")
    users = _side_table(log, [t for t in rest if t is not items], "user")
    found = []
    for table in tables:
        if table is tables[best]:
            own = {} if items else _own_items(log)
            found.append(_with(log, holds="interactions", roles=log.roles, item_roles=own))
        elif table is items:
            found.append(_as_items(table, log))
        elif table is users:
            key = _key(table, log, "user")
            why = Choice(column=key, why="its values are in the interactions")
            found.append(_with(table, holds="users", roles={"user": why}))
        else:
            found.append(_with(table, why=_unused(table)))
    return found


def _with(
    table: TableProfile,
    *,
    holds: str = "",
    roles: Roles | None = None,
    item_roles: Roles | None = None,
    why: str = "",
) -> TableProfile:
    return TableProfile(
        sample=table.sample,
        columns=table.columns,
        holds=holds,
        roles=roles or {},
        item_roles=item_roles or {},
        why=why,
    )


def _roles(table: TableProfile, others: Sequence[TableProfile]) -> Roles:
    joins: dict[str, float] = {}
    for column in table.columns:
        if not can_be_id(column):
            continue
        shares = [
            agreement(column.counts.keys(), key.counts.keys())
            for other in others
            for key in _keys(other)
            if not names.is_named(key.name, names.USER)
        ]
        if max(shares, default=0.0) > 0:
            joins[column.name] = max(shares)
    return interaction_roles(table.columns, joins, named=table.named)


def _keys(table: TableProfile) -> list[ColumnProfile]:
    """Return the columns that have a value of its own in each row: possible ids of a side table."""
    return [
        each
        for each in table.columns
        if each.is_unique and (each.whole or not each.is_numeric) and each.length < 100
    ][:5]


def _score(table: TableProfile, roles: Roles) -> float:
    """Return how much a table looks like interactions."""
    if not roles:
        return -1.0
    score = len(roles) + float(min(table.sample.n_rows, 10**9) ** 0.1)
    user, item = roles["user"].column, roles["item"].column
    score += 3.0 * names.is_named(user, names.USER) + 2.0 * names.is_named(item, names.ITEM)
    return score + 2.0 * ("value" in roles or "event" in roles) + 1.0 * ("timestamp" in roles)


def _side_table(
    log: TableProfile, others: Sequence[TableProfile], role: str
) -> TableProfile | None:
    """Return the table that describes the items (or the users) of the interactions."""
    best: tuple[float, TableProfile] | None = None
    ids = log.column(role)
    assert ids is not None
    for table in others:
        share = max(
            (agreement(ids.counts.keys(), key.counts.keys()) for key in _keys(table)), default=0.0
        )
        words = names.ITEM if role == "item" else names.USER
        named = any(names.is_named(key.name, words) for key in _keys(table))
        if role == "user" and not named:
            continue
        texts = sum(is_text(each) and each.words > 1 for each in table.columns)
        if not share and not (named and texts):
            continue
        score = share + 0.5 * named + 0.5 * min(texts, 2)
        if best is None or score > best[0]:
            best = score, table
    return best[1] if best else None


def _key(table: TableProfile, log: TableProfile, role: str) -> str:
    ids = log.column(role)
    assert ids is not None
    words = names.ITEM if role == "item" else names.USER

    def score(key: ColumnProfile) -> float:
        same = names.plain_name(key.name) == names.plain_name(ids.name)
        alike = agreement(ids.counts.keys(), key.counts.keys())
        return 3.0 * alike + names.is_named(key.name, words) + same

    return max(_keys(table), key=score).name


def _as_items(table: TableProfile, log: TableProfile) -> TableProfile:
    key = _key(table, log, "item")
    n = next(each.n_distinct for each in table.columns if each.name == key)
    why = Choice(column=key, why=f"one row each, {n:,} values")
    roles = {"item_id": why} | item_roles(table.columns, key, named=table.named)
    return _with(table, holds="items", roles=roles)


def _own_items(log: TableProfile) -> Roles:
    """Return the roles of columns that describe the items in the rows of the interactions."""
    item = log.roles["item"].column
    taken = {choice.column for role, choice in log.roles.items() if role != "item"}
    ids = log.sample.columns[item]
    rest = [
        each
        for each in log.columns
        if each.name not in taken and each.name != item and _depends(log, each, ids)
    ]
    found = item_roles(rest, item, named=True) if log.named else {}
    if "title" not in found and "categories" not in found:
        return {}
    return {"item_id": Choice(column=item, why="the same column as the item")} | found


def _depends(log: TableProfile, column: ColumnProfile, ids: Sequence[str]) -> bool:
    """Return whether most items have one value of a column in all of their rows."""
    if column.is_object or column.is_numeric:
        return not column.is_object  # prices change
    usual: dict[str, str] = {}
    same = several = 0
    for item, value in zip(ids, log.sample.columns[column.name], strict=True):
        if not value:
            continue
        if item in usual:
            several += 1
            same += usual[item] == value
        else:
            usual[item] = value
    return same >= 0.8 * several


def _unused(table: TableProfile) -> str:
    if not _keys(table):
        return "no column has one row for each item or user"
    return "its ids are not those of the interactions"


def _nothing(tables: Sequence[TableProfile]) -> str:
    lines = [
        f"{table.sample.path}: columns {', '.join(each.name for each in table.columns[:8])}"
        for table in tables[:4]
    ]
    return (
        "no file has interactions, i.e. a user and an item in each row:\n"
        + "\n".join(lines)
        + "\nName the file that has them; or write the recipe by hand (docs/recipe.md)."
    )
