"""The two tables of an app, checked and brought to one form (`pocketrec data`).

All work on rows is Ibis expressions, run by DuckDB here and by Spark where the tables are larger;
Python sees counts only. Bad rows go to `quarantine.jsonl` with a reason, never silently away.

A new day's files join an existing folder by the same code (`append_tables`): the result is that of
one run over all files, one after the other.
"""

import time
from collections.abc import Callable
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_bundle.disk.files import canonical_json, restore_dir
from pocketrec_training.data import columns as col
from pocketrec_training.data.cleaned import stage
from pocketrec_training.data.dataset import TRAIN, VALID
from pocketrec_training.data.deliveries import Deliveries, delivery_of
from pocketrec_training.data.fields.declared import with_missing
from pocketrec_training.data.fields.items import (
    FIELDS,
    described,
    feature_columns,
    last_of_each,
    saved_fields,
)
from pocketrec_training.data.joins import check_joins
from pocketrec_training.data.quarantine import bad_rows, saved_rows, write_quarantine
from pocketrec_training.data.report import AppendReport, DataReport, saved_report, write_report
from pocketrec_training.data.sources import Source, resolve, resolve_day
from pocketrec_training.data.staging import scratch_folder, staged
from pocketrec_training.data.times.forms import TimeRule
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.raw_table import PLACE
from pocketrec_training.recipe.schema import Recipe


def build_tables(
    recipe: Recipe,
    out: Path,
    source: Path | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
    now_utc: int | None = None,
) -> DataReport:
    """Read, check and write the canonical tables of a recipe to the folder `out`, atomically.

    Args:
        recipe: names the data set or files, and their columns.
        out: replaced as a whole when all is well, untouched otherwise.
        source: local folder of the data set's files, or the base of the recipe's relative paths.
        tell: receives a sentence for each thing that a person should look at.
        now_utc: unix seconds; times more than a day later are bad. None: the clock.

    Raises:
        TableInvalidError: a file or column is missing, a table is empty or has one user or item,
            more rows than `data.max_bad_share` are bad, times are implausible or ambiguous, or most
            items (or users) of the interactions are not in the table that describes them.
        RecipeInvalidError: `columns.timestamp_format` is not a format.
        DatasetUnavailableError: the registered data set cannot be fetched.

    Example:
        >>> from pocketrec import load_recipe
        >>> report = build_tables(load_recipe(Path("shop.toml")), Path("data"), Path("tables"))
        >>> report.users, report.items, report.quarantined, report.joins["items"].matched
        (40, 30, 0, 30)
    """
    found = resolve(recipe, source)
    first = Deliveries.first(recipe, delivery_of(found))
    return _write(recipe, found, out, None, first, tell, now_utc)


def append_tables(
    recipe: Recipe,
    out: Path,
    source: Path,
    *,
    tell: Callable[[str], None] = lambda _: None,
    now_utc: int | None = None,
) -> AppendReport:
    """Add a new delivery (a day's interactions, its new or changed items, or both) to `out`.

    The tables, the quarantine and the counts become those of one `build_tables` over all
    deliveries' files in their order; a killed call leaves the old folder. The same files again
    change nothing, so a job that does not know whether it got through may simply run again.

    Args:
        recipe: the one the folder was made with; columns and events must not have changed.
        out: a folder of `build_tables`.
        source: folder of the delivery, with files named as in the recipe; one of the two may lack.
            Its times are read as those of the first delivery.
        tell: as for `build_tables`.
        now_utc: as for `build_tables`.

    Raises:
        TableInvalidError: `out` holds no tables or was made with other columns, or as
            `build_tables`; `data.max_bad_share` is asked of the delivery alone.
        DatasetUnavailableError: a known data set's files are not in `source`.
    """
    restore_dir(out)
    old = saved_report(out)
    ingested = Deliveries.load(out, recipe)
    found = resolve_day(recipe, source)
    delivery = delivery_of(found)
    if ingested.knows(delivery):
        return AppendReport(
            known=True,
            rows_in=0,
            interactions=0,
            duplicates=0,
            quarantined=0,
            new_items=0,
            report=old,
        )
    report = _write(recipe, found, out, old, ingested.plus(delivery), tell, now_utc)
    return AppendReport(
        known=False,
        rows_in=report.rows_in - old.rows_in,
        interactions=report.interactions - old.interactions,
        duplicates=report.duplicates - old.duplicates,
        quarantined=report.quarantined - old.quarantined,
        new_items=report.items - old.items,
        report=report,
    )


def _write(
    recipe: Recipe,
    found: Source,
    out: Path,
    old: DataReport | None,
    ingested: Deliveries,
    tell: Callable[[str], None],
    now_utc: int | None,
) -> DataReport:
    now = int(time.time()) if now_utc is None else now_utc
    with staged(out) as folder:
        report = _build(recipe, found, folder, old, out, tell, now)
        write_report(report, folder)
        (folder / col.INGESTED_FILE).write_bytes(canonical_json(ingested.to_json()))
    return report


def _build(
    recipe: Recipe,
    source: Source,
    folder: Path,
    old: DataReport | None,
    before: Path,
    tell: Callable[[str], None],
    now_utc: int,
) -> DataReport:
    """Write the tables to `folder`; with `old`, those in `before` are their beginning."""
    connection: Backend = ibis.duckdb.connect()
    named = source.interactions or source.items or source.users or source.valid or source.test
    assert named is not None
    with scratch_folder(folder) as scratch:
        cleaned = stage(connection, recipe, source, scratch, _rule_of(recipe, old), now_utc)
        if old is None and cleaned.n_rows["interactions"] == 0:
            raise TableInvalidError(f"{named.name}: the table has no rows.")
        notes = cleaned.check(recipe, named.name)
    usable = {
        name: table.filter(table[col.REASON].isnull()) for name, table in cleaned.tables.items()
    }
    saved = {} if old is None else _saved_ids(connection, recipe, before)
    joins, told = check_joins(
        usable, saved, files=cleaned.files, allowed=recipe.data.allow_unmatched
    )
    notes += told

    bad = [bad_rows(table, name) for name, table in cleaned.tables.items()]
    good, known_items = [], []
    n_good = 0
    if "interactions" in usable:
        given = (col.FOLD,) if recipe.split.kind == "given" else ()
        good.append(usable["interactions"].select(*col.INTERACTIONS, *given))
        n_good = int(good[0].count().execute())
    if "items" in usable:
        known_items.append(_described(usable["items"]))
    if old is not None:
        good.append(connection.read_parquet(str(before / col.INTERACTIONS_FILE)))
        known_items.append(_saved_items(connection, before))
        bad.append(saved_rows(connection, before))
        n_good += old.interactions + old.duplicates
    if recipe.features.items and not known_items:
        raise TableInvalidError(
            f"{named.name}: features.items needs a table of items, and there is none."
        )
    kept = connection.create_table("kept", _union(good).distinct())
    all_items = with_missing(recipe.features.items, _with_bare(known_items, kept))
    items = connection.create_table("items", all_items)

    facts = kept.aggregate(
        n=kept.count(),
        users=kept[col.USER_ID].nunique(),
        used=kept[col.ITEM_ID].nunique(),
        first=kept[col.TS].min(),
        last=kept[col.TS].max(),
    ).execute()
    if recipe.split.kind == "given":
        notes += _given_notes(recipe, kept)
    users, used = int(facts["users"][0]), int(facts["used"][0])
    if users < 2 or used < 2:
        raise TableInvalidError(
            f"{named.name}: {users} user(s) and {used} item(s) in the good rows; "
            "a recommender needs at least 2 of each. Is columns.user or columns.item wrong?"
        )
    kept.order_by([col.TS, col.USER_ID, col.ITEM_ID, col.EVENT, col.VALUE]).to_parquet(
        folder / col.INTERACTIONS_FILE
    )
    items.order_by(col.ITEM_ID).to_parquet(folder / col.ITEMS_FILE)
    ids = [each["users"].select(col.USER_ID) for each in (usable, saved) if "users" in each]
    if ids:
        _union(ids).distinct().order_by(col.USER_ID).to_parquet(folder / col.USERS_FILE)
    write_quarantine(connection, _union(bad), folder)
    for note in notes:
        tell(note)
    total = _sums(old.reasons if old else {}, cleaned.reasons)
    n_kept = int(facts["n"][0])
    return DataReport(
        dataset=source.name,
        licence=source.licence,
        source=source.origin,
        rows_in=cleaned.n_rows.get("interactions", 0) + (old.rows_in if old else 0),
        interactions=n_kept,
        duplicates=n_good - n_kept,
        quarantined=sum(total.values()),
        reasons=total,
        examples=dict(sorted({**cleaned.examples, **(old.examples if old else {})}.items())),
        users=users,
        items=int(items.count().execute()),
        first_ts=int(facts["first"][0]),
        last_ts=int(facts["last"][0]),
        time=cleaned.time or (old.time if old else None),
        nulled=_sums(old.nulled if old else {}, cleaned.nulled),
        joins=joins,
    )


def _described(items: ir.Table) -> ir.Table:
    return items.select(*col.ITEMS, *feature_columns(items), PLACE)


def _saved_items(connection: Backend, folder: Path) -> ir.Table:
    return saved_fields(connection.read_parquet(str(folder / col.ITEMS_FILE)))


def _saved_ids(connection: Backend, recipe: Recipe, folder: Path) -> dict[str, ir.Table]:
    """Return the items and users that the tables of earlier deliveries described."""
    found = {}
    if recipe.data.items:
        items, names = _saved_items(connection, folder), recipe.columns
        has_fields = any(getattr(names, name) for name in FIELDS) or recipe.features.items
        filled = {
            col.FEATURE + name
            for name, feature in recipe.features.items.items()
            if feature.missing is not None
        }
        found["items"] = described(items, filled) if has_fields else items
    if (path := folder / col.USERS_FILE).is_file():
        found["users"] = connection.read_parquet(str(path))
    return found


def _given_notes(recipe: Recipe, kept: ir.Table) -> list[str]:
    """Say what of a given split a person should know."""
    counts = kept.group_by(col.FOLD).aggregate(n=kept.count()).execute()
    rows = dict(zip(counts[col.FOLD].tolist(), counts["n"].tolist(), strict=True))
    notes = []
    if not rows.get(VALID):
        notes.append(
            "the given split has no validation interactions: training holds out "
            f"{recipe.split.valid_share:.0%} of each user's training items (split.valid_share)"
        )
    pairs = kept.select(col.USER_ID, col.ITEM_ID, col.FOLD).distinct()
    train = pairs.filter(pairs[col.FOLD] == TRAIN)
    held_out = pairs.filter(pairs[col.FOLD] != TRAIN)
    if both := int(held_out.semi_join(train, (col.USER_ID, col.ITEM_ID)).count().execute()):
        notes.append(
            f"{both:,} held-out pairs of user and item are in the training interactions too; they "
            "are no cases of new items"
        )
    return notes


def _rule_of(recipe: Recipe, old: DataReport | None) -> TimeRule | None:
    """Return how the first delivery's times were read; None: this is the first."""
    if recipe.data.dataset:
        return TimeRule(declared=True)  # our own conversion wrote them
    if old is None:
        return None
    return old.time or TimeRule(order="day")  # as earlier versions read them


def _sums(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + two.get(key, 0) for key in sorted({*one, *two})}


def _union(tables: list[ir.Table]) -> ir.Table:
    return tables[0] if len(tables) == 1 else ibis.union(*tables)


def _with_bare(known: list[ir.Table], kept: ir.Table) -> ir.Table:
    """Merge all known items, and add a bare row for those that only the interactions name."""
    ids = kept.select(col.ITEM_ID).distinct()
    bare = ids.select(
        item_id=ids[col.ITEM_ID],
        title=ids[col.ITEM_ID],
        categories=ibis.literal(""),
        price=ibis.null("float64"),
        year=ibis.null("int32"),
        regions=ibis.literal(""),
        age_rating=ibis.null("int32"),
    )
    if not known:
        return bare
    items = last_of_each(_union(known))
    unknown = {name: ibis.null(items[name].type()) for name in feature_columns(items)}
    return ibis.union(items, bare.anti_join(items, col.ITEM_ID).mutate(**unknown))
