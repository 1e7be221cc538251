"""Open an export as Ibis tables on DuckDB, and find what each impression earned.

A reward belongs to the impression that the interaction names by request and item, else to the
user's latest impression of the item within a window.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.analysis.tables import readable
from pocketrec_experiments.errors import EventsInvalidError

_ = ibis._

COLUMNS = {
    "requests": {
        "user_id": "string",
        "request_id": "string",
        "ts": "int64",
        "release": "string",
        "scene": "string",
        "source": "string",
        "page": "int64",
        "k": "int64",
    },
    "impressions": {
        "user_id": "string",
        "request_id": "string",
        "place": "int64",
        "item_id": "string",
        "ts": "int64",
        "propensity": "float64",
        "sponsored": "string",
    },
    "interactions": {
        "user_id": "string",
        "item_id": "string",
        "ts": "int64",
        "event": "string",
        "value": "float64",
        "request_id": "string",
    },
}
"""Columns that are read, with their types. All must be there."""
WINDOW_S = 7 * 24 * 3600
THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What an impression earns.

    Attributes:
        events: event types that count; empty: all.
        values: sum of the events' values; else 1 for an impression with any event.
        window_s: latest time of an event after the impression, seconds.
        until_utc: events from here on do not count, unix seconds; None: all do.
    """

    events: tuple[str, ...] = ()
    values: bool = False
    window_s: int = WINDOW_S
    until_utc: int | None = None


@contextmanager
def exported_tables(folder: Path, rewards: Rewards) -> Iterator[dict[str, Any]]:
    """Open the tables of `COLUMNS`; impressions also have `reward` and `team`.

    Args:
        folder: of `pocketrec events export`.
        rewards: what an impression earns.

    Raises:
        EventsInvalidError: a table is missing, has no such column, or is damaged.
        InputError: no event of `rewards.events` is in the export.
    """
    connection = ibis.duckdb.connect(threads=THREADS)
    try:
        with readable(folder):
            tables = {kind: _table(connection, folder, kind) for kind in COLUMNS}
            if rewards.events:
                _check_events(tables["interactions"], rewards.events)
            yield tables | {"impressions": _rewarded(tables, rewards)}
    finally:
        connection.disconnect()


def _table(connection: Any, folder: Path, kind: str) -> Any:
    paths = sorted(str(path) for path in (folder / kind).rglob("*.parquet"))
    if not paths:
        raise EventsInvalidError(
            f"{folder / kind}: no Parquet file. Expected the folder of `pocketrec events export`."
        )
    table = connection.read_parquet(paths, union_by_name=True, hive_partitioning=False)
    columns = dict(COLUMNS[kind])
    if missing := sorted(columns.keys() - set(table.columns)):
        raise EventsInvalidError(
            f"{folder / kind}: no column {', '.join(missing)} (it has "
            f"{', '.join(sorted(table.columns))}). Export the events again."
        )
    chosen = {name: table[name].cast(of) for name, of in columns.items()}
    if kind == "requests":
        chosen["arms"] = table.arms if "arms" in table.columns else ibis.literal({"": ""})
        chosen["in_arm"] = (
            table.arms.length() > 0 if "arms" in table.columns else ibis.literal(False)
        )
    if kind == "impressions":
        has_context = "context" in table.columns
        team = table.context.cast("json")["team"].str if has_context else ibis.null("string")
        chosen["team"] = team
    return table.select(**chosen)


def _check_events(interactions: Any, wanted: tuple[str, ...]) -> None:
    known = set(interactions.event.as_table().distinct().to_pandas()["event"])
    if lacking := [name for name in wanted if name not in known]:
        raise InputError(
            f"reward: no event {', '.join(lacking)} in the export; it has "
            f"{', '.join(sorted(known)) or 'none'}."
        )


def _rewarded(tables: dict[str, Any], rewards: Rewards) -> Any:
    """Return the impressions of known requests with their `reward`."""
    shown, t = tables["impressions"].filter(_.request_id.notnull()), tables["interactions"]
    counted = t.filter(t.event.isin(rewards.events)) if rewards.events else t
    if rewards.until_utc is not None:
        counted = counted.filter(counted.ts < rewards.until_utc)
    earned = counted.value.fill_null(0.0) if rewards.values else ibis.literal(1.0)
    counted = counted.mutate(earned=earned)
    named = counted.filter(counted.request_id.notnull()).select(
        "user_id", "request_id", "item_id", "earned", at=_.ts
    )
    unnamed = counted.filter(counted.request_id.isnull()).select(
        "user_id", "item_id", "earned", at=_.ts
    )
    keys = ["user_id", "item_id"]
    brief = shown.select("user_id", "item_id", "request_id", shown_ts=_.ts)
    by_name = named.inner_join(brief, ["user_id", "request_id", "item_id"])
    by_time = unnamed.asof_join(brief, on=unnamed.at >= brief.shown_ts, predicates=keys)
    both = ibis.union(
        *(
            part.filter(_.shown_ts.notnull() & (_.at - _.shown_ts <= rewards.window_s)).select(
                "user_id", "request_id", "item_id", "earned"
            )
            for part in (by_name, by_time)
        )
    )
    total = both.earned.sum() if rewards.values else both.earned.max()
    sums = both.group_by("user_id", "request_id", "item_id").aggregate(reward=total)
    found = shown.left_join(sums, ["user_id", "request_id", "item_id"])
    columns = ["user_id", "request_id", "place", "item_id", "ts", "propensity", "sponsored", "team"]
    return found.select(*columns, reward=found.reward.fill_null(0.0))
