"""Files with several items in a line, brought to one item a row.

Two layouts are known. MIND has impressions: each shown item with "-1" if it was chosen, "-0" if
not. LightGCN's files have a user and then all of the user's items in each line.
"""

import re
from dataclasses import replace
from itertools import islice, pairwise

from pocketrec_training.table_profile.sample import TableSample

LOOKED_AT = 500
_SHOWN = re.compile(r"\S+-[01]( \S+-[01])*")
_NUMBERS = re.compile(r"\d+(\s\d+)*\s?")


def one_item_a_row(sample: TableSample) -> TableSample:
    """Return a sample with one item a row, and `layout` as the recipe names it."""
    for name, values in sample.columns.items():
        some = [value for value in values[:LOOKED_AT] if value]
        several = sum(" " in value for value in some)
        if several and all(_SHOWN.fullmatch(value) for value in some):
            return _chosen(sample, name)
    return user_items(sample) if _is_user_items(sample) else sample


def _chosen(sample: TableSample, shown: str) -> TableSample:
    """Repeat each row for each item that was chosen from those shown."""
    chosen = [
        [each.removesuffix("-1") for each in value.split() if each.endswith("-1")]
        for value in sample.columns[shown]
    ]
    columns = {
        name: [value for value, items in zip(values, chosen, strict=True) for _ in items]
        for name, values in sample.columns.items()
    }
    columns[shown] = [item for items in chosen for item in items]
    return _with_columns(sample, columns, "impressions")


def _is_user_items(sample: TableSample) -> bool:
    """Return whether lines have a user's number, counted up, and a varying number of items."""
    if sample.dialect is None or sample.dialect.separator not in ("", " ", "\t"):
        return False
    lines = [line.split() for line in islice(sample.lines, LOOKED_AT)]
    if len(lines) < 3 or not all(_NUMBERS.fullmatch(line) for line in sample.lines[:LOOKED_AT]):
        return False
    users = [int(line[0]) for line in lines]
    counted = sum(two - one == 1 for one, two in pairwise(users))
    return counted >= 0.9 * (len(users) - 1) and len({len(line) for line in lines}) > 2


def user_items(sample: TableSample) -> TableSample:
    """Return a row for each item of the lines."""
    users: list[str] = []
    items: list[str] = []
    for line in sample.lines:
        user, *some = line.split()
        users += [user] * len(some)
        items += some
    return _with_columns(sample, {"1": users, "2": items}, "user_items")


def _with_columns(sample: TableSample, columns: dict[str, list[str]], layout: str) -> TableSample:
    n_rows = len(next(iter(columns.values()), []))
    grown = n_rows / max(sample.n_sampled, 1)
    return replace(
        sample, columns=columns, n_rows=round(sample.n_rows * grown), layout=layout, lines=[]
    )
