"""One raw file to rows of canonical columns, each with a reason where it cannot be used."""

import difflib

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import MAX_TEXT
from pocketrec_bundle.items.audience import MAX_AGE
from pocketrec_bundle.items.catalogue import MAX_ID, MAX_PRICE
from pocketrec_training.data.timestamps import check_format, unix_seconds
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import sample
from pocketrec_training.reading.json_rows import LIST
from pocketrec_training.reading.raw_table import BROKEN, FILE, LINE, PLACE, TEXT, RawTable
from pocketrec_training.reading.sniff import sniff_header
from pocketrec_training.recipe.schema import Recipe

MAX_TITLE, MAX_CATEGORIES = 10_000, 5_000
"""Characters; with an id of `MAX_ID` they fit a catalogue's row even at four bytes each."""
_MAX_VALUE = 1e300
"""As servers take values in events."""


_TITLES = ("title", "categories", "regions")
"""Keys of columns whose words mean themselves: an item may be called "None"."""
_PLAIN = ("user", "item", "timestamp", "event", "value", "item_id")
"""Keys of columns that hold one value a row."""


def _column(raw: RawTable, name: str, key: str) -> ir.StringValue:
    """Return a trimmed text column, null words as null; "" as name gives nulls."""
    if not name:
        return ibis.null("string")
    text, value = raw.text(name), raw.value(name)
    if text is None or value is None:
        known = raw.names
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f' Set columns.{key} = "{close[0]}" in the recipe?' if close else ""
        if raw.header and not sniff_header([raw.names]):
            hint = f" Its first row looks like data: if so, set {raw.key}.header = false."
        raise TableInvalidError(
            f"{raw.file}: no column {name!r} for columns.{key} (it has {_shown(known)})." + hint
        )
    if raw.twice(name):
        raise TableInvalidError(
            f"{raw.file}: two columns are called {name!r} (columns.{key}). Rename one of them."
        )
    if key in _PLAIN and name in raw.nested:
        place, kind = raw.nested[name]
        raise TableInvalidError(
            f"{place}: column {name!r} (columns.{key}) holds {kind}, which is no text or number. "
            "Name another column, or write its value as a column of its own."
        )
    return text.strip().nullif("") if key in _TITLES else value


def _shown(names: tuple[str, ...]) -> str:
    some = ", ".join(sample(name) for name in names[:30])
    return some + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def clean_interactions(recipe: Recipe, raw: RawTable) -> ir.Table:
    """Return the canonical columns of interactions, `reason` (null where good) and `row`.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
        RecipeInvalidError: `columns.timestamp_format` is not a format.
    """
    names, events = recipe.columns, recipe.events
    check_format(names.timestamp_format, f"recipe {recipe.name!r}: columns.timestamp_format")
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
    ts = unix_seconds(time_text, names.timestamp_format)
    reason = ibis.cases(
        (raw.table[BROKEN].notnull(), raw.table[BROKEN]),
        (user.isnull(), "user id missing"),
        (item.isnull(), "item id missing"),
        (user.length() > MAX_ID, f"user id longer than {MAX_ID} characters"),
        (item.length() > MAX_ID, f"item id longer than {MAX_ID} characters"),
        (time_text.isnull(), "timestamp missing"),
        (ts.isnull(), "timestamp unreadable"),
        (value_text.notnull() & (value.isnull() | ~value_ok), "value is not a number"),
        (event.isnull(), "event missing"),
        (~event.isin(list(events.types)), "event unknown"),
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
    )


def clean_items(recipe: Recipe, raw: RawTable) -> ir.Table:
    """Return the canonical columns of items, `reason`, `row`, and the place in the file.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
    """
    names = recipe.columns
    item = _column(raw, names.item_id, "item_id")
    title = _column(raw, names.title, "title")
    categories, regions = (
        _joined(_column(raw, getattr(names, key), key), names.categories_separator)
        for key in ("categories", "regions")
    )
    price_text = _column(raw, names.price, "price")
    year_text = _column(raw, names.year, "year")
    age_text = _column(raw, names.age_rating, "age_rating")
    price, year = price_text.try_cast("float64"), year_text.try_cast("float64")
    age = age_text.try_cast("float64")
    whole_age = age.try_cast("int32")  # a plain cast of inf or 1e300 ends the query
    age_ok = whole_age.between(0, MAX_AGE) & (age == whole_age)
    price_ok = ~(price.isnan() | price.isinf())
    reason = ibis.cases(
        (raw.table[BROKEN].notnull(), raw.table[BROKEN]),
        (item.isnull(), "item id missing"),
        (item.length() > MAX_ID, f"item id longer than {MAX_ID} characters"),
        (title.length() > MAX_TITLE, f"title longer than {MAX_TITLE} characters"),
        (
            categories.length() > MAX_CATEGORIES,
            f"categories longer than {MAX_CATEGORIES} characters",
        ),
        (
            regions.re_search(f"[^|]{{{MAX_TEXT + 1}}}"),
            f"a region longer than {MAX_TEXT} characters",
        ),
        (price_text.notnull() & (price.isnull() | ~price_ok), "price is not a number"),
        (price.abs() > MAX_PRICE, f"price beyond {MAX_PRICE:g}"),
        (year_text.notnull() & (year.isnull() | ~year.between(-9999, 9999)), "year unreadable"),
        (age_text.notnull() & (whole_age.isnull() | ~age_ok), "age rating unreadable"),
        else_=ibis.null("string"),
    )
    return raw.table.select(
        item_id=item.cast("string"),
        title=title.cast("string"),
        categories=categories,
        price=ibis.ifelse(price < 0, ibis.null("float64"), price),  # unknown, as on the device
        year=year.try_cast("int32"),
        regions=regions,
        age_rating=whole_age,
        reason=reason,
        row=_as_text(raw),
        file=raw.table[FILE],
        line=raw.table[LINE],
        **{PLACE: raw.table[PLACE]},
    )


def _joined(texts: ir.StringValue, separator: str) -> ir.StringValue:
    """Join names by "|" instead of the source's separator; null becomes an empty text.

    Names of a list keep the separator; a "|" within one becomes "/".
    """
    listed = texts.replace("|", "/").replace(LIST, "|").re_replace(r"^\|", "")
    if separator not in ("", "|"):
        texts = texts.replace(separator, "|")
    return ibis.ifelse(texts.startswith(LIST), listed, texts).cast("string").fill_null("")


def _as_text(raw: RawTable) -> ir.StringValue:
    """The whole source row as one text, for the quarantine file."""
    parts = [
        ibis.literal(name + "=") + raw.table[f"c{k}"].fill_null("")
        for k, name in enumerate(raw.names)
    ]
    return ibis.coalesce(raw.table[TEXT], ibis.literal("; ").join(parts))
