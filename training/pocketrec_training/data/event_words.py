"""Event types in the data that the recipe does not have: which words, how often, what to set."""

import difflib

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_training.data import columns as col
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.tables import Events

UNKNOWN_EVENT = "event unknown"
_MOST = 8
"""Words that a message lists."""


def check_events(
    staged: ir.Table, events: Events, *, file: str, n_rows: int, allowed: float
) -> str:
    """Return a sentence about unknown event types; empty: all are known.

    Args:
        staged: cleaned interactions with their reasons.
        events: of the recipe.
        file: name of the table.
        n_rows: rows of the table.
        allowed: `data.max_bad_share`.

    Raises:
        TableInvalidError: a larger share of rows than `allowed` has unknown event types.
    """
    unknown = staged.filter(staged[col.REASON] == UNKNOWN_EVENT)
    counts = unknown[col.EVENT].value_counts(name="n").order_by([ibis.desc("n"), col.EVENT])
    found = {row[col.EVENT]: int(row["n"]) for row in counts.to_pyarrow().to_pylist()}
    if not found:
        return ""
    words = ", ".join(f"{shown(word[:60])} ({n:,} rows)" for word, n in list(found.items())[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    known = ", ".join(map(repr, events.types))
    told = f"{file}: events.types lacks the event types {words}{more}; it has {known}."
    told += _near(found, events)
    if sum(found.values()) <= allowed * n_rows:
        return told
    raise TableInvalidError(
        f"{told} Add the types to events.types, or leave columns.event empty if all rows are of "
        "one type."
    )


def _near(found: dict[str, int], events: Events) -> str:
    """Name a type of the recipe that differs from a word in its spelling only."""
    small = {name.lower(): name for name in events.types}
    for word in found:
        if close := difflib.get_close_matches(word.lower(), small, n=1, cutoff=0.8):
            return f" Is {shown(word)} the type {small[close[0]]!r}? Letters must be alike."
    return ""
