"""One delivery's files, cleaned and counted, before anything of them is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_training.data.clean import (
    FILTERED,
    clean_interactions,
    clean_items,
    clean_users,
    time_samples,
)
from pocketrec_training.data.dataset import TEST, TRAIN, VALID
from pocketrec_training.data.event_words import check_events
from pocketrec_training.data.fields.declared import refuse_other_types, why_nulled
from pocketrec_training.data.fields.items import nulled_counts, nulled_sentences
from pocketrec_training.data.quarantine import count_reasons, refuse_too_many
from pocketrec_training.data.samples import Samples
from pocketrec_training.data.sources import Source
from pocketrec_training.data.times.forms import TimeRule, check_format
from pocketrec_training.data.times.rule import decide_time, refuse_wild_times
from pocketrec_training.reading.parquet import unreadable
from pocketrec_training.reading.table import read_table
from pocketrec_training.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """The cleaned tables of one delivery.

    Attributes:
        tables: "interactions", "items" and "users", those that are there, with reasons of bad rows.
        files: their names in messages.
        n_rows: rows of each.
        reasons: "table: reason" to number of bad rows.
        examples: for each of them, file and line of the first.
        nulled: item field to number of values that could not be used.
        time: how times were read; None without interactions or times.
        samples: the time column.
        now_utc: unix seconds.
    """

    tables: dict[str, ir.Table]
    files: dict[str, str]
    n_rows: dict[str, int]
    reasons: dict[str, int]
    examples: dict[str, str]
    nulled: dict[str, int]
    time: TimeRule | None
    samples: Samples | None
    now_utc: int

    def check(self, recipe: Recipe, name: str) -> list[str]:
        """Refuse a delivery of which too much is bad; return sentences on what a person should see.

        Args:
            recipe: gives the limits.
            name: begins the text of a refusal.

        Raises:
            TableInvalidError: times are implausible, event types unknown, too many rows bad, or
                most values of a declared feature are not of its kind.
        """
        allowed, notes = recipe.data.max_bad_share, []
        wrong = {why: n for why, n in self.reasons.items() if FILTERED not in why}
        n_filtered = sum(self.reasons.values()) - sum(wrong.values())
        if "interactions" in self.tables:
            n_rows, file = self.n_rows["interactions"] - n_filtered, self.files["interactions"]
            if self.time is not None and self.samples is not None:
                refuse_wild_times(
                    self.samples, self.time, self.reasons, n_rows, allowed, self.now_utc
                )
            table, events = self.tables["interactions"], recipe.events
            if told := check_events(table, events, file=file, n_rows=n_rows, allowed=allowed):
                notes.append(told)
        n_rows = sum(self.n_rows.values()) - n_filtered
        refuse_too_many(allowed, name, wrong, self.examples, n_rows)
        if "items" in self.tables:
            items, features = self.tables["items"], recipe.features.items
            sentences = nulled_sentences(items, self.nulled, why_nulled(features))
            refuse_other_types(items, features, self.files["items"], sentences)
            notes += sentences
        return notes


def stage(
    connection: Backend,
    recipe: Recipe,
    source: Source,
    scratch: Path,
    earlier: TimeRule | None,
    now_utc: int,
) -> Cleaned:
    """Clean each file that is there, once, as a table of the connection.

    Args:
        connection: holds the tables.
        recipe: names columns and events.
        source: the files.
        scratch: an empty folder; `Cleaned.check` needs it too.
        earlier: how the first delivery's times were read.
        now_utc: unix seconds.

    Raises:
        TableInvalidError: a file or column cannot be read, or times are ambiguous.
        RecipeInvalidError: `columns.timestamp_format` is not a format.
    """
    names = recipe.columns
    check_format(names.timestamp_format, f"recipe {recipe.name!r}: columns.timestamp_format")
    tables, files = {}, {}
    rule, samples = None, None
    if (path := source.interactions) is not None:
        raw = read_table(
            connection, path, source.spec(recipe, "interactions"), scratch / "interactions"
        )
        files["interactions"], used = raw.file, TimeRule()
        if names.timestamp:
            samples = time_samples(recipe, raw)
            with _readable(path):
                rule = used = decide_time(samples, names, earlier, now_utc)
        first = TRAIN if source.test is not None else None
        rows = clean_interactions(recipe, raw, used, now_utc, first)
        for fold, held_out in ((VALID, source.valid), (TEST, source.test)):
            if held_out is None:
                continue
            spec = source.spec(recipe, "interactions")
            more = read_table(connection, held_out, spec, scratch / f"fold_{fold}")
            rows = ibis.union(rows, clean_interactions(recipe, more, used, now_utc, fold))
        tables["interactions"] = _made(connection, "interactions", rows, path)
    if (path := source.items) is not None:
        raw = read_table(connection, path, source.spec(recipe, "items"), scratch / "items")
        files["items"] = raw.file
        tables["items"] = _made(connection, "items", clean_items(recipe, raw), path)
    if (path := source.users) is not None:
        raw = read_table(connection, path, source.spec(recipe, "users"), scratch / "users")
        files["users"] = raw.file
        tables["users"] = _made(connection, "users", clean_users(recipe, raw), path)
    counted: dict[str, tuple[int, str]] = {}
    for name, table in tables.items():
        counted |= count_reasons(table, name)
    return Cleaned(
        tables=tables,
        files=files,
        n_rows={name: int(table.count().execute()) for name, table in tables.items()},
        reasons={reason: n for reason, (n, _) in counted.items()},
        examples={reason: place for reason, (_, place) in counted.items()},
        nulled=nulled_counts(tables["items"]) if "items" in tables else {},
        time=rule,
        samples=samples,
        now_utc=now_utc,
    )


def _made(connection: Backend, name: str, rows: ir.Table, path: Path) -> ir.Table:
    with _readable(path):
        return connection.create_table(f"staged_{name}", rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the error of a bad page after those that `read_table` looked at into one of the file."""
    try:
        yield
    except duckdb.Error as err:
        raise unreadable(path.name, err) from err
