"""One raw file to rows of canonical columns, each with a reason where it cannot be used."""

import difflib
from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import MAX_TEXT
from pocketrec_bundle.items.audience import MAX_AGE
from pocketrec_bundle.items.catalogue import MAX_ID, MAX_PRICE
from pocketrec_training.data.sources import parquet_files
from pocketrec_training.data.timestamps import check_format, unix_seconds
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.schema import Recipe

PLACE = "_place"
"""Position of a row in its file: of two rows of one item the later one counts."""

MAX_TITLE, MAX_CATEGORIES = 10_000, 5_000
"""Characters; with an id of `MAX_ID` they fit a catalogue's row even at four bytes each."""
_MAX_VALUE = 1e300
"""As servers take values in events."""


def read_texts(connection: Backend, path: Path) -> ir.Table:
    """Read every column as text, so that no guess of a type loses a row; and each row's `PLACE`."""
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                table = connection.read_csv(str(path), all_varchar=True, header=True)
            case ".parquet":
                table = connection.read_parquet(str(path))
            case ".jsonl" | ".ndjson" | ".json":
                table = connection.read_json(str(path), format="newline_delimited")
            case _ if path.is_dir():
                files = [str(each) for each in parquet_files(path)]
                table = connection.read_parquet(files, hive_partitioning=False)
            case other:
                raise TableInvalidError(f"{path}: {other!r} is not csv, tsv, parquet or jsonl")
    except duckdb.Error as err:
        raise unreadable(path, err) from err
    if taken := [name for name in table.columns if name.lower() == PLACE]:
        raise TableInvalidError(
            f"{path}: the name of column {taken[0]!r} is reserved for the row's position. Rename "
            "the column."
        )
    texts = [table[name].cast("string").name(name) for name in table.columns]
    # The position in the file, before any filter or join can lose it.
    return table.select(*texts, ibis.row_number().name(PLACE))


def unreadable(path: Path, err: duckdb.Error) -> TableInvalidError:
    """Return the error of a file that DuckDB cannot read; rows are read after `read_texts` too."""
    first_line = str(err).partition("\n")[0]
    kind = path.suffix[1:] or "a folder of Parquet files"
    return TableInvalidError(f"{path}: cannot be read as {kind}: {first_line}")


def _column(table: ir.Table, name: str, key: str, file: str) -> ir.StringValue:
    """Return a trimmed text column, empty texts as null; "" as name gives nulls."""
    if not name:
        return ibis.null("string")
    known = _names(table)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f' Set columns.{key} = "{close[0]}" in the recipe?' if close else ""
        raise TableInvalidError(
            f"{file}: no column {name!r} for columns.{key} (it has {', '.join(known)})." + hint
        )
    return table[name].strip().nullif("")


def clean_interactions(recipe: Recipe, raw: ir.Table, file: str) -> ir.Table:
    """Return the canonical columns of interactions, `reason` (null where good) and `row`.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
        RecipeInvalidError: `columns.timestamp_format` is not a format.
    """
    names, events = recipe.columns, recipe.events
    check_format(names.timestamp_format, f"recipe {recipe.name!r}: columns.timestamp_format")
    user = _column(raw, names.user, "user", file)
    item = _column(raw, names.item, "item", file)
    time_text = _column(raw, names.timestamp, "timestamp", file)
    value_text = _column(raw, names.value, "value", file)
    event_text = _column(raw, names.event, "event", file)
    value = value_text.try_cast("float64")
    value_ok = value.abs() <= _MAX_VALUE  # false for NaN, which DuckDB sorts above all numbers
    event = event_text if names.event else ibis.literal(events.default)
    if events.like_value is not None:
        liked = (event == events.default) & (value >= events.like_value)
        event = ibis.ifelse(liked.fill_null(False), "like", event)
    ts = unix_seconds(time_text, names.timestamp_format)
    reason = ibis.cases(
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
    return raw.select(
        user_id=user.cast("string"),
        item_id=item.cast("string"),
        event=event.cast("string"),
        value=ibis.ifelse(value == 0.0, 0.0, value),  # one zero: -0.0 would be a row of its own
        ts=ts,
        reason=reason,
        row=_as_text(raw),
    )


def clean_items(recipe: Recipe, raw: ir.Table, file: str) -> ir.Table:
    """Return the canonical columns of items, `reason`, `row`, and the place in the file.

    Raises:
        TableInvalidError: a column that the recipe names is not there.
    """
    names = recipe.columns
    item = _column(raw, names.item_id, "item_id", file)
    title = _column(raw, names.title, "title", file)
    categories, regions = (
        _joined(_column(raw, getattr(names, key), key, file), names.categories_separator)
        for key in ("categories", "regions")
    )
    price_text = _column(raw, names.price, "price", file)
    year_text = _column(raw, names.year, "year", file)
    age_text = _column(raw, names.age_rating, "age_rating", file)
    price, year = price_text.try_cast("float64"), year_text.try_cast("float64")
    age = age_text.try_cast("float64")
    whole_age = age.try_cast("int32")  # a plain cast of inf or 1e300 ends the query
    age_ok = whole_age.between(0, MAX_AGE) & (age == whole_age)
    price_ok = ~(price.isnan() | price.isinf())
    reason = ibis.cases(
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
    return raw.select(
        item_id=item.cast("string"),
        title=title.cast("string"),
        categories=categories,
        price=ibis.ifelse(price < 0, ibis.null("float64"), price),  # unknown, as on the device
        year=year.try_cast("int32"),
        regions=regions,
        age_rating=whole_age,
        reason=reason,
        row=_as_text(raw),
        **{PLACE: raw[PLACE]},
    )


def _joined(texts: ir.StringValue, separator: str) -> ir.StringValue:
    """Join names by "|" instead of the source's separator; null becomes an empty text."""
    if separator not in ("", "|"):
        texts = texts.replace(separator, "|")
    return texts.cast("string").fill_null("")


def _as_text(raw: ir.Table) -> ir.StringValue:
    """The whole source row as one text, for the quarantine file."""
    parts = [name + "=" + raw[name].fill_null("") for name in _names(raw)]
    return ibis.literal("; ").join(parts)


def _names(table: ir.Table) -> list[str]:
    return [name for name in table.columns if name != PLACE]
