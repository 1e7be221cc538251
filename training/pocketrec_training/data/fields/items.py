"""The fields of an item: each is read by itself, and a bad one is nulled without its item."""

from collections.abc import Set

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import MAX_TEXT, shown
from pocketrec_bundle.items.audience import MAX_AGE
from pocketrec_bundle.items.catalogue import MAX_PRICE
from pocketrec_training.data import columns as col
from pocketrec_training.reading.json_rows import LIST
from pocketrec_training.reading.list_cells import with_lists
from pocketrec_training.reading.raw_table import LINE, PLACE

MAX_TITLE, MAX_CATEGORIES = 10_000, 5_000
"""Characters; with an id of `MAX_ID` they fit a catalogue's row even at four bytes each."""
BAD = "bad_"
"""Prefix of a column with the start of a field's unreadable value, null where it is good."""
QUOTED = 40
"""Characters of an unreadable value that messages quote."""
FIELDS = (col.TITLE, col.CATEGORIES, col.PRICE, col.YEAR, *col.AUDIENCE)
WHY = {
    col.TITLE: f"longer than {MAX_TITLE:,} characters",
    col.CATEGORIES: f"longer than {MAX_CATEGORIES:,} characters",
    col.PRICE: f"unreadable or beyond {MAX_PRICE:g}",
    col.YEAR: "unreadable",
    col.REGIONS: f"longer than {MAX_TEXT} characters",
    col.AGE_RATING: f"no whole number from 0 to {MAX_AGE}",
}
"""What is wrong with a nulled value, by field."""


def item_fields(texts: dict[str, ir.StringValue], separator: str) -> dict[str, ir.Value]:
    """Return the canonical columns of `FIELDS`, null where unknown, and a `BAD` column for each.

    Args:
        texts: the trimmed source text of each field, null where empty.
        separator: between names of categories and regions.
    """
    title = texts[col.TITLE].cast("string")
    categories, regions = (
        joined_names(texts[key], separator) for key in (col.CATEGORIES, col.REGIONS)
    )
    price, year, age = (
        texts[key].try_cast("float64") for key in (col.PRICE, col.YEAR, col.AGE_RATING)
    )
    whole_age = age.try_cast("int32")  # a plain cast of inf or 1e300 ends the query
    read = {
        col.TITLE: (title, title.length() <= MAX_TITLE),
        col.CATEGORIES: (categories, categories.length() <= MAX_CATEGORIES),
        col.PRICE: (price, price.abs() <= MAX_PRICE),  # false for NaN and inf
        col.YEAR: (year.try_cast("int32"), year.between(-9999, 9999)),
        col.REGIONS: (regions, ~regions.re_search(f"[^|]{{{MAX_TEXT + 1}}}")),
        col.AGE_RATING: (whole_age, whole_age.between(0, MAX_AGE) & (age == whole_age)),
    }
    found: dict[str, ir.Value] = {}
    for name, (value, good) in read.items():
        good = good.fill_null(False)
        nothing = ibis.null(value.type())
        found[name] = ibis.ifelse(good, value, nothing)
        text = texts[name]
        bad = text.notnull() & ~good
        if name in (col.CATEGORIES, col.REGIONS):
            bad = bad & value.notnull()  # blanks and separators alone mean no name
        found[BAD + name] = ibis.ifelse(bad, text.substr(0, QUOTED + 1), ibis.null("string"))
    known = found[col.PRICE]
    found[col.PRICE] = ibis.ifelse(known < 0, ibis.null("float64"), known)  # as on the device
    return found


def feature_columns(table: ir.Table) -> tuple[str, ...]:
    """Return the columns of declared features."""
    return tuple(name for name in table.columns if name.startswith(col.FEATURE))


def nulled_counts(staged: ir.Table) -> dict[str, int]:
    """Return the number of nulled values by field, for fields that have some."""
    counts = {name: staged[BAD + name].count() for name in (*FIELDS, *feature_columns(staged))}
    row = staged.aggregate(**counts).to_pyarrow().to_pylist()[0]
    return {name: int(n) for name, n in row.items() if n}


def nulled_sentences(
    staged: ir.Table, counts: dict[str, int], reasons: dict[str, str]
) -> list[str]:
    """Say which values were nulled, with a sample and its line each.

    Args:
        staged: the cleaned items.
        counts: of `nulled_counts`.
        reasons: what is wrong with a nulled value, by column of a declared feature.
    """
    told, reasons = [], WHY | reasons
    for name, n in counts.items():
        bad = staged.filter(staged[BAD + name].notnull())
        first = bad.order_by(PLACE).limit(1).select("file", LINE, text=bad[BAD + name])
        (row,) = first.to_pyarrow().to_pylist()
        text = row["text"] if len(row["text"]) <= QUOTED else row["text"][:QUOTED] + "..."
        values = "value" if n == 1 else "values"
        place = f"{row['file']}:{row['line']}"
        told.append(
            f"{name}: {n:,} {values} {reasons[name]}, e.g. {shown(text)} ({place})"
            f"; the items stay, without {name}"
        )
    return told


def last_of_each(good: ir.Table) -> ir.Table:
    """Return one row an item id: of each field the last known value by `PLACE`.

    An item without a title is called by its id.
    """
    features = feature_columns(good)
    fields = {
        name: good[name].argmax(good[PLACE], where=good[name].notnull())
        for name in (*FIELDS, *features)
    }
    merged = good.group_by(col.ITEM_ID).aggregate(**fields)
    return merged.mutate(
        title=ibis.coalesce(merged[col.TITLE], merged[col.ITEM_ID]),
        categories=merged[col.CATEGORIES].fill_null(""),
        regions=merged[col.REGIONS].fill_null(""),
    ).select(*col.ITEMS, *features)


def saved_fields(items: ir.Table) -> ir.Table:
    """Return saved items as rows before all others, for `last_of_each`.

    Tables from before the columns of `col.AUDIENCE` know nothing of them.
    """
    if col.REGIONS not in items.columns:
        items = items.mutate(regions=ibis.literal(""), age_rating=ibis.null("int32"))
    items = items.mutate(
        title=items[col.TITLE].nullif(items[col.ITEM_ID]),
        categories=items[col.CATEGORIES].nullif(""),
        regions=items[col.REGIONS].nullif(""),
    )
    return items.select(*col.ITEMS, *feature_columns(items), **{PLACE: ibis.literal(-1, "int64")})


def described(saved: ir.Table, filled: Set[str]) -> ir.Table:
    """Return the rows of `saved_fields` with a field; interactions alone named the others.

    Args:
        saved: rows of `saved_fields`.
        filled: columns of features that have a value in every row.
    """
    names = [*FIELDS, *(name for name in feature_columns(saved) if name not in filled)]
    return saved.filter(ibis.or_(*(saved[name].notnull() for name in names)))


def joined_names(texts: ir.StringValue, separator: str) -> ir.StringValue:
    """Return names joined by "|": trimmed, each once in the source's order; null without any.

    Names of a list keep the separator; a "|" within one becomes "/". A cell may be the text of a
    list, such as `['Drama', 'War']`.
    """
    texts = with_lists(texts)
    listed = texts.replace("|", "/").split(LIST)
    parts = ibis.ifelse(texts.startswith(LIST), listed, texts.split(separator or "|"))
    parts = parts.map(lambda name: name.strip())
    kept = parts.filter(lambda name, at: (name != "") & (parts.index(name) == at))
    return kept.join("|").cast("string").nullif("")
