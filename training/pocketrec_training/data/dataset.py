"""The canonical tables as arrays: sequences in time order, and which events are held out."""

import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_bundle.features import MISSING, History
from pocketrec_bundle.items.audience import UNRATED, Audience
from pocketrec_bundle.units import DAY_S
from pocketrec_training.data import columns as col
from pocketrec_training.data.fields.values import Values, load_features
from pocketrec_training.data.folds import TEST as TEST
from pocketrec_training.data.folds import TRAIN as TRAIN
from pocketrec_training.data.folds import VALID as VALID
from pocketrec_training.data.folds import folds, given_folds, random_folds
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.event_values import has_weights
from pocketrec_training.recipe.schema import Recipe, uses_time
from pocketrec_training.recipe.tables import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Item columns in canonical row order (sorted by id).

    categories: names per item; price, year: float32, -1 = unknown; audience: None = everyone;
    features: declared features by name, see `fields.values.Values`.
    """

    ids: list[str]
    titles: list[str]
    categories: list[tuple[str, ...]]
    price: NDArray[np.float32]
    year: NDArray[np.float32]
    audience: Audience | None = None
    features: Mapping[str, Values] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def for_whom(self) -> Audience:
        """Return the audience of each item."""
        return Audience.everyone(len(self)) if self.audience is None else self.audience

    def pick(self, rows: Sequence[int] | NDArray[np.int64]) -> "Items":
        """Return some items, in the order of `rows`."""
        at = np.asarray(rows, np.int64)
        return Items(
            ids=[self.ids[row] for row in at],
            titles=[self.titles[row] for row in at],
            categories=[self.categories[row] for row in at],
            price=self.price[at],
            year=self.year[at],
            audience=self.for_whom().pick(at),
            features={name: values[at] for name, values in self.features.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Interactions of each user, oldest first, in compressed rows.

    User u owns positions offsets[u]:offsets[u+1] of `rows` (item rows), `events` (codes), `ts`
    (unix seconds) and `fold` (TRAIN, VALID or TEST). `values` is float64, nan where an event has
    none; None if the recipe has no event type whose value is an amount or seconds, and
    no objective that reads values.
    """

    items: Items
    user_ids: list[str]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    events: NDArray[np.int32]
    ts: NDArray[np.int64]
    fold: NDArray[np.int8]
    values: NDArray[np.float64] | None = None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def event_users(self) -> NDArray[np.int64]:
        """User of each event, int64 [n_events]."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    def with_validation(self) -> "Dataset":
        """Return these events with those of the validation fold in the training fold."""
        return replace(self, fold=np.where(self.fold == VALID, np.int8(TRAIN), self.fold))

    def all_train(self) -> "Dataset":
        """Return these events, all in the training fold."""
        return replace(self, fold=np.full(len(self.fold), TRAIN, np.int8))

    def of_popular(self, n: int) -> "Dataset":
        """Return the events of the n items with most training events; rows keep their order."""
        counts = np.bincount(self.rows[self.fold == TRAIN], minlength=len(self.items))
        rows = np.sort(np.argsort(-counts, kind="stable")[:n])
        row_of = np.full(len(self.items), -1, np.int32)
        row_of[rows] = np.arange(len(rows), dtype=np.int32)
        kept = row_of[self.rows] >= 0
        return Dataset(
            items=self.items.pick(rows),
            user_ids=self.user_ids,
            offsets=np.concatenate([[0], np.cumsum(kept)])[self.offsets].astype(np.int64),
            rows=row_of[self.rows[kept]],
            events=self.events[kept],
            ts=self.ts[kept],
            fold=self.fold[kept],
            values=None if self.values is None else self.values[kept],
        )

    def first_seen(self) -> NDArray[np.int64]:
        """Time of each item's first event, int64 [n_items]; the largest number if it has none."""
        first = np.full(len(self.items), np.iinfo(np.int64).max)
        np.minimum.at(first, self.rows, self.ts)
        return first

    def history(self, user: int, end: int | None = None) -> History:
        """Return a user's events from the first up to position `end` of that user (exclusive)."""
        start, stop = int(self.offsets[user]), int(self.offsets[user + 1])
        part = slice(start, stop if end is None else start + end)
        return History(self.rows[part], self.events[part], self.ts[part])

    def held_out(self, fold: int) -> list[tuple[int, int]]:
        """Return (user, position) of each user's first event of a fold; one case a user."""
        found = []
        for user in range(self.n_users):
            part = self.fold[self.offsets[user] : self.offsets[user + 1]]
            at = np.flatnonzero(part == fold)
            if len(at) and at[0] > 0:
                found.append((user, int(at[0])))
        return found

    def popularity(self, half_life_days: float = 0.0) -> NDArray[np.float32]:
        """Return how often each item occurs in the training fold, float32 [n_items].

        half_life_days: age, before the fold's last event, at which an event counts half; 0 = never.
        """
        chosen = self.fold == TRAIN
        ages = self.ts[chosen].max(initial=0) - self.ts[chosen]
        weights = 0.5 ** (ages / DAY_S / half_life_days) if half_life_days else None
        return np.bincount(self.rows[chosen], weights, len(self.items)).astype(np.float32)


def load_dataset(recipe: Recipe, data_dir: Path) -> Dataset:
    """Load the tables that `pocketrec data` wrote and mark the held-out events.

    `pocketrec_training.data.splits.check` checks whether any event is held out.

    Raises:
        TableInvalidError: the tables are not there, do not belong together, or have events that the
            recipe does not.
    """
    items = load_items(data_dir)
    row_of = {item_id: row for row, item_id in enumerate(items.ids)}
    path = data_dir / col.INTERACTIONS_FILE
    table = _fetch(path, (*col.INTERACTIONS, col.FOLD), optional=(col.FOLD,))
    codes = {name: code for code, name in enumerate(recipe.events.types)}
    _check_belongs(path, {*table[col.EVENT]}, {*table[col.ITEM_ID]}, codes.keys(), row_of.keys())
    # Not as a numpy array of texts, which pads every id to the longest one.
    user_ids = sorted({*table[col.USER_ID]})
    place = {user_id: user for user, user_id in enumerate(user_ids)}
    users = np.array([place[user_id] for user_id in table[col.USER_ID]], np.int64)
    rows = np.array([row_of[i] for i in table[col.ITEM_ID]], np.int32)
    events = np.array([codes[e] for e in table[col.EVENT]], np.int32)
    ts = np.asarray(table[col.TS], np.int64)
    timed = uses_time(recipe)
    # Equal time stamps say nothing about order: a hash breaks the tie, so that no order of ids or
    # of the file (which may follow the baskets or the ratings) can leak into the test.
    tie = np.array(
        [
            zlib.crc32(f"{recipe.seed}:{u}:{i}".encode())
            for u, i in zip(table[col.USER_ID], table[col.ITEM_ID], strict=True)
        ],
        np.uint32,
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))])
    if timed:
        order = np.lexsort((tie, ts, users))
        fold = folds(recipe, offsets, ts[order])
    else:
        drawn = _untimed_folds(recipe.split, table, users, tie, path)
        order = np.lexsort((tie, drawn, users))
        fold = drawn[order]
        # One moment a fold: all that a user has in training, then what is held out.
        ts = ts.max() + drawn.astype(np.int64)
    rows, events, ts = rows[order], events[order], ts[order]
    valued = has_weights(recipe.events) or any(one.kind != "binary" for one in recipe.objectives)
    values = _values(table[col.VALUE])[order] if valued else None
    return Dataset(
        items=items,
        user_ids=user_ids,
        offsets=offsets.astype(np.int64),
        rows=rows,
        events=events,
        ts=ts,
        fold=fold,
        values=values,
    )


def _check_belongs(
    path: Path, events: Set[str], items: Set[str], types: Set[str], known: Set[str]
) -> None:
    """Refuse events that the recipe lacks and items that `items.parquet` lacks."""
    if events - types:
        raise TableInvalidError(
            f"{path}: has the event types {_listed(events)}, but events.types of the recipe has "
            f"{_listed(types)}. Run `pocketrec data` again with this recipe, or train with the "
            "recipe that made the tables."
        )
    if lacking := items - known:
        raise TableInvalidError(
            f"{path}: {len(lacking)} items are not in {col.ITEMS_FILE}, such as "
            f"{shown(min(lacking))}. The two files are of different runs: run `pocketrec data` "
            "again."
        )


def _listed(names: Set[str]) -> str:
    first = ", ".join(map(repr, sorted(names)[:10]))
    return f"{first}, ... ({len(names)} in all)" if len(names) > 10 else first


def load_items(folder: Path) -> Items:
    """Load `items.parquet` of a data or run folder, sorted by id.

    Raises:
        TableInvalidError: it is not there.
    """
    table = _fetch(folder / col.ITEMS_FILE, col.ITEMS, optional=col.AUDIENCE)
    ids = table[col.ITEM_ID].tolist()
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    return Items(
        ids=[ids[i] for i in order],
        titles=[str(table[col.TITLE][i]) for i in order],
        categories=[split_categories(str(table[col.CATEGORIES][i])) for i in order],
        price=_numbers(table[col.PRICE])[order],
        year=_numbers(table[col.YEAR])[order],
        audience=_audience(table).pick(order) if col.REGIONS in table else None,
        features={
            name: values[order] for name, values in load_features(folder / col.ITEMS_FILE).items()
        },
    )


def _audience(table: dict[str, Any]) -> Audience:
    ages = _numbers(table[col.AGE_RATING])
    return Audience(
        regions=[split_categories(str(text)) for text in table[col.REGIONS]],
        age_ratings=np.where(ages < 0, UNRATED, ages).astype(np.uint8),
    )


def split_categories(text: str) -> tuple[str, ...]:
    """Split the joined categories of an item."""
    return tuple(part for part in text.split("|") if part)


def _fetch(path: Path, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not path.is_file():
        raise TableInvalidError(f"{path}: not there. Run `pocketrec data` first.")
    try:
        with duckdb.connect() as connection:
            found = connection.sql("SELECT * FROM read_parquet(?)", params=[str(path)])
            arrays = found.fetchnumpy()
    except duckdb.Error as err:
        first_line = str(err).partition("\n")[0]
        raise TableInvalidError(
            f"{path}: damaged ({first_line}). Run `pocketrec data` again."
        ) from err
    if lacking := [name for name in names if name not in arrays and name not in optional]:
        raise TableInvalidError(
            f"{path}: no column {', '.join(map(repr, lacking))} (it has {', '.join(arrays)}). Run "
            "`pocketrec data` again."
        )
    return {name: arrays[name] for name in names if name in arrays}


def _values(column: Any) -> NDArray[np.float64]:
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)


def _numbers(column: Any) -> NDArray[np.float32]:
    numbers = np.ma.filled(np.ma.asarray(column, dtype=np.float64), MISSING)
    return np.where(np.isnan(numbers), MISSING, numbers).astype(np.float32)


def _untimed_folds(
    split: Split,
    table: dict[str, Any],
    users: NDArray[np.int64],
    drawn: NDArray[np.uint32],
    path: Path,
) -> NDArray[np.int8]:
    """Return the fold of each event of a split that does not go by time."""
    if split.kind == "random":
        return random_folds(split, users, drawn)
    if col.FOLD not in table:
        raise TableInvalidError(
            f"{path}: no column {col.FOLD!r}, since it was not made with split.kind = "
            '"given". Run `pocketrec data` again with this recipe.'
        )
    return given_folds(split, np.array(table[col.FOLD], np.int8), users, drawn)
