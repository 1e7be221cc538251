"""How many ids of the interactions are in the tables that describe them, and why not more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_training.data import columns as col
from pocketrec_training.errors import TableInvalidError

MIN_MATCHED = 0.5
"""Below this share the two files are probably not of one catalogue."""
_SAMPLES = 3

TRANSFORMS: dict[str, Callable[[ir.StringValue], ir.StringValue]] = {
    "without a final '.0'": lambda text: text.re_replace(r"\.0+$", ""),
    "without leading zeros": lambda text: text.re_replace(r"^0+(.)", r"\1"),
    "in small letters": lambda text: text.lower(),
    "without blanks": lambda text: text.re_replace(r"\s+", ""),
}
"""Ways in which exports spell one id differently, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """How a table's ids match those of the interactions.

    Attributes:
        used: different ids in the interactions.
        matched: how many of them are in the table.
    """

    used: int
    matched: int


def check_joins(
    good: Mapping[str, ir.Table],
    saved: Mapping[str, ir.Table],
    *,
    files: Mapping[str, str],
    allowed: bool,
) -> tuple[dict[str, Join], list[str]]:
    """Check the items and users of a delivery's interactions, as `check_join` does.

    Args:
        good: the delivery's usable rows, by table. Without interactions nothing is checked.
        saved: those that earlier deliveries described, by table.
        files: names of the delivery's tables.
        allowed: `data.allow_unmatched`.

    Returns:
        Counts by table, and sentences on ids that do not match.

    Raises:
        TableInvalidError: fewer than half of the items or users match and that is not allowed.
    """
    joins: dict[str, Join] = {}
    notes = []
    for name, key in (("items", col.ITEM_ID), ("users", col.USER_ID)):
        known = [table[name].select(key) for table in (good, saved) if name in table]
        if "interactions" not in good or not known:
            continue
        file = files.get(name, f"the earlier {name}")
        joins[name], told = check_join(
            good["interactions"].select(key),
            known[0] if len(known) == 1 else ibis.union(*known),
            what=name,
            file=f"{file} and the earlier {name}" if len(known) > 1 else file,
            allowed=allowed,
        )
        notes += [told] if told else []
    return joins, notes


def check_join(
    ids: ir.Table, known: ir.Table, *, what: str, file: str, allowed: bool
) -> tuple[Join, str]:
    """Count the ids of the interactions that a table knows.

    Args:
        ids: of the interactions, one column, repeated as they come.
        known: ids of the table, one column.
        what: "items" or "users".
        file: name of the table.
        allowed: `data.allow_unmatched`.

    Returns:
        The counts, and a sentence with samples; empty if all ids match.

    Raises:
        TableInvalidError: fewer than half match and that is not allowed.
    """
    used, table = (each.rename(id=each.columns[0]).distinct() for each in (ids, known))
    lacking = used.anti_join(table, "id")
    n_used, n_lacking = int(used.count().execute()), int(lacking.count().execute())
    join = Join(used=n_used, matched=n_used - n_lacking)
    if not n_lacking:
        return join, ""
    samples = ", ".join(shown(text) for text in _first(lacking))
    told = (
        f"{file}: {join.matched:,} of {n_used:,} {what} of the interactions are in it; not in it "
        f"are {samples}{' and others' if n_lacking > _SAMPLES else ''}. "
        f"It has {', '.join(shown(text) for text in _first(table))}."
    )
    hint = _hint(lacking, table, n_lacking)
    if join.matched >= MIN_MATCHED * n_used or allowed:
        return join, told + hint
    raise TableInvalidError(
        f"{told}{hint} Write the ids alike in both files, or name the right columns. If so few are "
        "right, set data.allow_unmatched = true."
    )


def _hint(lacking: ir.Table, table: ir.Table, n_lacking: int) -> str:
    """Name the transformation of both sides' ids with which the most of the lacking ones match."""
    best, words = 0, ""
    for name, change in TRANSFORMS.items():
        one = lacking.select(id=change(lacking["id"]))
        two = table.select(id=change(table["id"]))
        n = int(one["id"].isin(two["id"]).cast("int64").sum().execute())
        if n > best:
            best, words = n, name
    return f" {words[0].upper()}{words[1:]}, {best:,} of these {n_lacking:,} match." if best else ""


def _first(table: ir.Table) -> list[str]:
    rows = table.order_by("id").limit(_SAMPLES).to_pyarrow().to_pylist()
    return [row["id"] for row in rows]
