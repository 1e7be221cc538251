"""One raw file to rows of canonical columns, each with a reason where it cannot be used."""

import difflib
from collections.abc import Iterator

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.items.catalogue import MAX_ID
from pocketrec_training.data import columns as col
from pocketrec_training.data.event_words import UNKNOWN_EVENT
from pocketrec_training.data.fields.declared import ONE_VALUE, feature_fields
from pocketrec_training.data.fields.items import FIELDS, item_fields
from pocketrec_training.data.folds import FOLD_WORDS
from pocketrec_training.data.samples import Samples
from pocketrec_training.data.times.forms import TimeRule, unix_seconds
from pocketrec_training.data.times.rule import time_problem
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import sample
from pocketrec_training.reading.raw_table import BROKEN, FILE, LINE, PLACE, TEXT, RawTable
from pocketrec_training.reading.sniff import sniff_header
from pocketrec_training.recipe.schema import Recipe

_MAX_VALUE = 1e300
"""As servers take values in events."""

FILTERED = "filtered by data.above."
"""Beginning of the reason of a row that the recipe leaves out; such a row is not a bad one."""
_TITLES = ("title", "categories", "regions")
"""Keys of columns whose words mean themselves: an item may be called "None"."""
_PLAIN = ("user", "item", "timestamp", "event", "value", "item_id", "user_id")
"""Keys of columns that hold one value a row."""


def _column(raw: RawTable, name: str, key: str, *, one_value: bool = False) -> ir.StringValue:
    """Return a trimmed text column, null words as null; "" as name gives nulls.

    Args:
        raw: texts.
        name: of the source's column.
        key: of the recipe, without "columns." if it is in that section.
        one_value: whether a row may hold one value only, not a list or an object.

    Raises:
        TableInvalidError: the column is not there, is there twice, or holds other values.
    """
    if not name:
        return ibis.null("string")
    text, value = raw.text(name), raw.value(name)
    where = key if "." in key else f"columns.{key}"
    if text is None or value is None:
        known = raw.names
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f' Set {where} = "{sample(close[0])}" in the recipe?' if close else ""
        if close and key.startswith("data.above."):
            hint = f' Is it "{sample(close[0])}"?'
        if key == "timestamp":
            hint += (
                ' For a table without times, set columns.timestamp = "" and split.kind = "random".'
            )
        if raw.header and not sniff_header([raw.names]):
            hint = f" Its first row looks like data: if so, set {raw.key}.header = false."
        raise TableInvalidError(
            f"{raw.file}: no column {name!r} for {where} (it has {_shown(known)})." + hint
        )
    if raw.twice(name):
        raise TableInvalidError(
            f"{raw.file}: two columns are called {name!r} ({where}). Rename one of them."
        )
    if (one_value or key in _PLAIN) and name in raw.nested:
        place, kind = raw.nested[name]
        raise TableInvalidError(
            f"{place}: column {name!r} ({where}) holds {kind}, not a text or a number. "
            "Name another column, or write its value as a column of its own."
        )
    return text.strip().nullif("") if key in _TITLES else value


def _shown(names: tuple[str, ...]) -> str:
    some = ", ".join(sample(name) for name in names[:30])
    return some + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def time_samples(recipe: Recipe, raw: RawTable) -> Samples:
    """Return the time column, to decide by and to quote from.

    Raises:
        TableInvalidError: it is not there.
    """
    text = _column(raw, recipe.columns.timestamp, "timestamp")
    return Samples(table=raw.table, text=text, file=raw.file)


def clean_interactions(
    recipe: Recipe, raw: RawTable, rule: TimeRule, now_utc: int, fold: int | None = None
) -> ir.Table:
    """Return the canonical columns of interactions, `reason` (null where good) and `row`.

    With a split that is given they have `fold` too.

    Args:
        recipe: names the columns and events.
        raw: texts.
        rule: how times are read.
        now_utc: unix seconds; times more than a day later are bad.
        fold: of all rows, where each fold has a file; None: as `split.column` says.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
    """
    names, events = recipe.columns, recipe.events
    given = {}
    fold_problem: ir.Value = ibis.null("string")
    if recipe.split.kind == "given":
        given[col.FOLD], fold_problem = _given(recipe, raw, fold)
    user = _column(raw, names.user, "user")
    item = _column(raw, names.item, "item")
    time_text = _column(raw, names.timestamp, "timestamp")
    value_text = _column(raw, names.value, "value")
    event_text = _column(raw, names.event, "event")
    value = value_text.try_cast("float64")
    value_ok = value.abs() <= _MAX_VALUE  # false for NaN, which DuckDB sorts above all numbers
    event = event_text if names.event else ibis.literal(events.default)
    if events.like_value is not None:
        liked = (event == events.default) & (value >= events.like_value)
        event = ibis.ifelse(liked.fill_null(False), "like", event)
    ts: ir.Value = ibis.literal(0, "int64")
    problem: ir.Value = ibis.null("string")
    if names.timestamp:
        ts = unix_seconds(time_text, rule)
        problem = time_problem(time_text, ts, rule, now_utc)
    reason = ibis.cases(
        (raw.table[BROKEN].notnull(), raw.table[BROKEN]),
        *_filters(recipe, raw),
        (user.isnull(), "user id missing"),
        (item.isnull(), "item id missing"),
        (user.length() > MAX_ID, f"user id longer than {MAX_ID} characters"),
        (item.length() > MAX_ID, f"item id longer than {MAX_ID} characters"),
        (problem.notnull(), problem),
        (fold_problem.notnull(), fold_problem),
        (value_text.notnull() & (value.isnull() | ~value_ok), "value is not a number"),
        (event.isnull(), "event missing"),
        (~event.isin(list(events.types)), UNKNOWN_EVENT),
        else_=ibis.null("string"),
    )
    return raw.table.select(
        user_id=user.cast("string"),
        item_id=item.cast("string"),
        event=event.cast("string"),
        value=ibis.ifelse(value == 0.0, 0.0, value),  # one zero: -0.0 would be a row of its own
        ts=ts,
        reason=reason,
        row=_as_text(raw),
        file=raw.table[FILE],
        line=raw.table[LINE],
        **{PLACE: raw.table[PLACE]},
        **given,
    )


def _filters(recipe: Recipe, raw: RawTable) -> Iterator[tuple[ir.BooleanValue, str]]:
    """Yield which rows `data.above` leaves out, and the reason."""
    for name, bound in recipe.data.above.items():
        number = _column(raw, name, f"data.above.{name}").try_cast("float64")
        yield (number <= bound).fill_null(False), FILTERED + name


def _given(recipe: Recipe, raw: RawTable, fold: int | None) -> tuple[ir.Value, ir.Value]:
    """Return the fold of each row, int8, and what is wrong with it."""
    if fold is not None:
        return ibis.literal(fold, "int8"), ibis.null("string")
    word = _column(raw, recipe.split.column, "split.column").lower()
    found = ibis.cases(
        *((word.isin(words), number) for number, words in FOLD_WORDS.items()),
        else_=ibis.null("int64"),
    ).cast("int8")
    problem = ibis.cases(
        (word.isnull(), "split missing"),
        (found.isnull(), "split is not train, valid or test"),
        else_=ibis.null("string"),
    )
    return found, problem


def clean_items(recipe: Recipe, raw: RawTable) -> ir.Table:
    """Return the canonical columns of items, those of `item_fields` and of declared features.

    Then `reason`, `row` and its place.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
    """
    names = recipe.columns
    item = _column(raw, names.item_id, "item_id")
    reason = ibis.cases(
        (raw.table[BROKEN].notnull(), raw.table[BROKEN]),
        (item.isnull(), "item id missing"),
        (item.length() > MAX_ID, f"item id longer than {MAX_ID} characters"),
        else_=ibis.null("string"),
    )
    texts = {key: _column(raw, getattr(names, key), key) for key in FIELDS}
    features = recipe.features.items
    declared = {
        name: _column(
            raw,
            feature.column or name,
            f"features.items.{name}.column",
            one_value=feature.kind in ONE_VALUE,
        )
        for name, feature in features.items()
    }
    return raw.table.select(
        item_id=item.cast("string"),
        **item_fields(texts, names.categories_separator),
        **feature_fields(features, declared, names.categories_separator),
        reason=reason,
        row=_as_text(raw),
        file=raw.table[FILE],
        line=raw.table[LINE],
        **{PLACE: raw.table[PLACE]},
    )


def clean_users(recipe: Recipe, raw: RawTable) -> ir.Table:
    """Return the ids of users, `reason`, `row` and its place.

    Raises:
        TableInvalidError: the column of the id is not there.
    """
    names = recipe.columns
    user = _column(raw, names.user_id or names.user, "user_id")
    reason = ibis.cases(
        (raw.table[BROKEN].notnull(), raw.table[BROKEN]),
        (user.isnull(), "user id missing"),
        else_=ibis.null("string"),
    )
    return raw.table.select(
        user_id=user.cast("string"),
        reason=reason,
        row=_as_text(raw),
        file=raw.table[FILE],
        line=raw.table[LINE],
        **{PLACE: raw.table[PLACE]},
    )


def _as_text(raw: RawTable) -> ir.StringValue:
    """The whole source row as one text, for the quarantine file."""
    parts = [
        ibis.literal(name + "=") + raw.table[f"c{k}"].fill_null("")
        for k, name in enumerate(raw.names)
    ]
    return ibis.coalesce(raw.table[TEXT], ibis.literal("; ").join(parts))
