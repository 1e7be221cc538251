"""The two tables of an app, checked and brought to one form (`pocketrec data`).

All work on rows is Ibis expressions, run by DuckDB here and by Spark where the tables are larger;
Python sees counts only. Bad rows go to `quarantine.jsonl` with a reason, never silently away.
"""

import difflib
import errno
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from bundle.files import canonical_json, replace_dir, write_failed
from training import columns as col
from training.datasets import Source, resolve
from training.errors import TableInvalid
from training.recipe import Recipe
from training.timestamps import unix_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What went in, what came out, and why rows were put aside; saved as `data_report.json`."""

    dataset: str
    licence: str
    source: str
    rows_in: int
    interactions: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    users: int
    items: int
    first_ts: int
    last_ts: int


def build_tables(recipe: Recipe, out: Path, source: Path | None = None) -> DataReport:
    """Read, check and write the canonical tables of a recipe to the folder `out`, atomically.

    Args:
        recipe: names the data set or files, and their columns.
        out: replaced as a whole when all is well, untouched otherwise.
        source: local folder of the data set's files, or the base of the recipe's relative paths.

    Raises:
        TableInvalid: a file or column is missing, a table is empty or has one user or item, or
            more rows than `data.max_bad_share` are bad.
        DatasetUnavailable: the registered data set cannot be fetched.
    """
    found = resolve(recipe, source)
    folder = out.parent / f".{out.name}.partial"
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a killed try
        folder.mkdir(parents=True)
        report = _build(recipe, found, folder)
        (folder / col.REPORT_FILE).write_bytes(canonical_json(asdict(report)))
        replace_dir(folder, out)
    except OSError as err:
        raise write_failed(out, err) from err
    except duckdb.IOException as err:
        if "No space left" in str(err):  # DuckDB hands on the text of the errno, not the number
            raise write_failed(out, OSError(errno.ENOSPC, "")) from err
        raise TableInvalid(f"{out}: {err}") from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _build(recipe: Recipe, source: Source, folder: Path) -> DataReport:
    connection: Backend = ibis.duckdb.connect()
    raw = _read(connection, source.interactions)
    staged = connection.create_table("staged", _interactions(recipe, raw, source.interactions.name))
    rows_in = int(staged.count().execute())
    if rows_in == 0:
        raise TableInvalid(f"{source.interactions.name}: the table has no rows.")
    good = staged.filter(staged[col.REASON].isnull()).select(*col.INTERACTIONS)
    kept = connection.create_table("kept", good.distinct())
    reasons = _reasons(staged, "interactions")
    quarantine = [_quarantined(staged, "interactions")]

    if source.items is None:
        items = _bare_items(kept)
    else:
        raw_items = _read(connection, source.items)
        staged_items = connection.create_table(
            "staged_items", _items(recipe, raw_items, source.items.name)
        )
        reasons |= _reasons(staged_items, "items")
        quarantine.append(_quarantined(staged_items, "items"))
        items = _complete_items(staged_items, kept)
    items = connection.create_table("items", items)

    n_good, n_kept = int(good.count().execute()), int(kept.count().execute())
    n_bad = sum(reasons.values())
    n_rows = rows_in + (int(staged_items.count().execute()) if source.items else 0)
    _refuse_too_many(recipe, source, reasons, n_bad, n_rows)
    facts = kept.aggregate(
        users=kept[col.USER_ID].nunique(),
        used=kept[col.ITEM_ID].nunique(),
        first=kept[col.TS].min(),
        last=kept[col.TS].max(),
    ).execute()
    users, used = int(facts["users"][0]), int(facts["used"][0])
    if users < 2 or used < 2:
        raise TableInvalid(
            f"{source.interactions.name}: {users} user(s) and {used} item(s) in the good rows; "
            "a recommender needs at least 2 of each. Is columns.user or columns.item wrong?"
        )
    kept.order_by([col.TS, col.USER_ID, col.ITEM_ID, col.EVENT, col.VALUE]).to_parquet(
        folder / col.INTERACTIONS_FILE
    )
    items.order_by(col.ITEM_ID).to_parquet(folder / col.ITEMS_FILE)
    bad_rows = quarantine[0] if len(quarantine) == 1 else ibis.union(*quarantine)
    _write_quarantine(connection, bad_rows.order_by(["table", col.REASON, "row"]), folder)
    return DataReport(
        dataset=source.name,
        licence=source.licence,
        source=source.origin,
        rows_in=rows_in,
        interactions=n_kept,
        duplicates=n_good - n_kept,
        quarantined=n_bad,
        reasons=reasons,
        users=users,
        items=int(items.count().execute()),
        first_ts=int(facts["first"][0]),
        last_ts=int(facts["last"][0]),
    )


def _read(connection: Backend, path: Path) -> ir.Table:
    """Read a file with every column as text, so that no guess of a type loses a row."""
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                table = connection.read_csv(str(path), all_varchar=True, header=True)
            case ".parquet":
                table = connection.read_parquet(str(path))
            case ".jsonl" | ".ndjson" | ".json":
                table = connection.read_json(str(path), format="newline_delimited")
            case other:
                raise TableInvalid(f"{path}: {other!r} is not csv, tsv, parquet or jsonl")
    except duckdb.Error as err:
        first_line = str(err).partition("\n")[0]
        raise TableInvalid(f"{path}: cannot be read as {path.suffix[1:]}: {first_line}") from err
    return table.mutate(**{name: table[name].cast("string") for name in table.columns})


def _column(table: ir.Table, name: str, key: str, file: str) -> ir.StringValue:
    """Return a trimmed text column, empty texts as null; "" as name gives nulls."""
    if not name:
        return ibis.null("string")
    if name not in table.columns:
        close = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.4)
        hint = f' Set columns.{key} = "{close[0]}" in the recipe?' if close else ""
        raise TableInvalid(
            f"{file}: no column {name!r} for columns.{key} (it has {', '.join(table.columns)})."
            + hint
        )
    return table[name].strip().nullif("")


def _interactions(recipe: Recipe, raw: ir.Table, file: str) -> ir.Table:
    names, events = recipe.columns, recipe.events
    user = _column(raw, names.user, "user", file)
    item = _column(raw, names.item, "item", file)
    time_text = _column(raw, names.timestamp, "timestamp", file)
    value_text = _column(raw, names.value, "value", file)
    event_text = _column(raw, names.event, "event", file)
    value = value_text.try_cast("float64")
    value_ok = value.isnull() | ~(value.isnan() | value.isinf())
    event = event_text if names.event else ibis.literal(events.default)
    if events.like_value is not None:
        liked = (event == events.default) & (value >= events.like_value)
        event = ibis.ifelse(liked.fill_null(False), "like", event)
    ts = unix_seconds(time_text, names.timestamp_format)
    reason = ibis.cases(
        (user.isnull(), "user id missing"),
        (item.isnull(), "item id missing"),
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
        value=value,
        ts=ts,
        reason=reason,
        row=_as_text(raw),
    )


def _items(recipe: Recipe, raw: ir.Table, file: str) -> ir.Table:
    names = recipe.columns
    item = _column(raw, names.item_id, "item_id", file)
    title = _column(raw, names.title, "title", file)
    categories = _column(raw, names.categories, "categories", file)
    if names.categories_separator not in ("", "|"):
        categories = categories.replace(names.categories_separator, "|")
    price_text = _column(raw, names.price, "price", file)
    year_text = _column(raw, names.year, "year", file)
    price, year = price_text.try_cast("float64"), year_text.try_cast("float64")
    reason = ibis.cases(
        (item.isnull(), "item id missing"),
        (price_text.notnull() & (price.isnull() | price.isnan()), "price is not a number"),
        (year_text.notnull() & (year.isnull() | ~year.between(-9999, 9999)), "year unreadable"),
        else_=ibis.null("string"),
    )
    return raw.select(
        item_id=item.cast("string"),
        title=title.cast("string"),
        categories=categories.cast("string").fill_null(""),
        price=price,
        year=year.cast("int32"),
        reason=reason,
        row=_as_text(raw),
    )


def _as_text(raw: ir.Table) -> ir.StringValue:
    """The whole source row as one text, for the quarantine file."""
    parts = [name + "=" + raw[name].fill_null("") for name in raw.columns]
    return ibis.literal("; ").join(parts)


def _complete_items(staged: ir.Table, kept: ir.Table) -> ir.Table:
    """One row an item id, and a bare row for items that only the interactions know."""
    good = staged.filter(staged[col.REASON].isnull())
    first = ibis.row_number().over(
        group_by=col.ITEM_ID, order_by=[good[name] for name in col.ITEMS[1:]]
    )
    known = good.mutate(place=first).filter(lambda t: t.place == 0).select(*col.ITEMS)
    known = known.mutate(title=ibis.coalesce(known[col.TITLE], known[col.ITEM_ID]))
    bare = _bare_items(kept).anti_join(known, col.ITEM_ID)
    return ibis.union(known, bare)


def _bare_items(kept: ir.Table) -> ir.Table:
    ids = kept.select(col.ITEM_ID).distinct()
    return ids.select(
        item_id=ids[col.ITEM_ID],
        title=ids[col.ITEM_ID],
        categories=ibis.literal(""),
        price=ibis.null("float64"),
        year=ibis.null("int32"),
    )


def _reasons(staged: ir.Table, table: str) -> dict[str, int]:
    counts = staged.filter(staged[col.REASON].notnull())[col.REASON].value_counts(name="n")
    return {
        f"{table}: {row[col.REASON]}": int(row["n"])
        for row in counts.order_by(col.REASON).to_pyarrow().to_pylist()
    }


def _quarantined(staged: ir.Table, table: str) -> ir.Table:
    bad = staged.filter(staged[col.REASON].notnull())
    return bad.select(table=ibis.literal(table), reason=bad[col.REASON], row=bad["row"])


def _write_quarantine(connection: Backend, bad: ir.Table, folder: Path) -> None:
    target = str(folder / col.QUARANTINE_FILE).replace("'", "''")
    # Ibis's to_json writes one array; DuckDB's COPY writes a line an object, and streams.
    connection.raw_sql(f"COPY ({ibis.to_sql(bad)}) TO '{target}' (FORMAT json)")


def _refuse_too_many(
    recipe: Recipe, source: Source, reasons: dict[str, int], n_bad: int, n_rows: int
) -> None:
    if n_bad <= recipe.data.max_bad_share * n_rows:
        return
    counts = "; ".join(f"{reason}: {n}" for reason, n in reasons.items())
    raise TableInvalid(
        f"{source.interactions.name}: {n_bad} of {n_rows} rows are bad "
        f"({n_bad / n_rows:.1%}, allowed {recipe.data.max_bad_share:.1%}): {counts}. "
        "Mend the file or the recipe's columns, or raise data.max_bad_share."
    )
