"""A cut in time for new items: what was known at a moment, and which new items were taken after it.

An item is new if its first event comes after the cut; or, where too few are still to come, if it is
in a lot of items that are held out whole, so that its events before the cut do not exist. Models
get the events up to the cut and the items seen in them; they never meet a new item's id, nor any
event after the cut.
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import InputError
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import TRAIN, VALID, Dataset, Items, load_dataset, load_items
from pocketrec_training.recipe.schema import Recipe

MIN_USER_EVENTS = 3  # a user with fewer gives no validation event: two are left to learn from
VALID_USERS = 0.1
LOTS = 5  # of items, by a hash of the id; one is held out
_FREE = "item_id NOT IN (SELECT item_id FROM held)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdSplit:
    """One cut.

    Attributes:
        known: events up to the cut (folds TRAIN and VALID) and the items in them.
        new: the items that came later, or a lot.
        cut_utc: unix seconds.
        end_utc: end of the window, unix seconds.
        users: rows of `known`'s users with a first touch after the cut.
        new_taken: per such user the rows of new items touched for the first time after the cut.
        known_taken: the same of known items.
    """

    known: Dataset
    new: Items
    cut_utc: int
    end_utc: int
    users: NDArray[np.int64]
    new_taken: list[NDArray[np.int32]]
    known_taken: list[NDArray[np.int32]]

    @property
    def takers(self) -> NDArray[np.int64]:
        """Places in `users` of those who took a new item: the cases of the ranking within them."""
        return np.flatnonzero([len(rows) > 0 for rows in self.new_taken])

    @property
    def new_share(self) -> float:
        """Share of first touches after the cut that new items got, 0..1."""
        n_new, n_known = (sum(map(len, rows)) for rows in (self.new_taken, self.known_taken))
        return n_new / (n_new + n_known)


def split(
    recipe: Recipe,
    tables: Path,
    work: Path,
    *,
    cut: float,
    end: float,
    seed: int,
    lot: int | None = None,
) -> ColdSplit:
    """Cut canonical tables at the event share `cut`; what happened after `end` does not exist.

    Args:
        recipe: of the models to train; its own split is not used.
        tables: folder that `pocketrec data` wrote.
        work: folder for the tables of known and new items.
        cut: share of all events, in time order, that is known.
        end: share at which the window of new items ends.
        seed: draws the users whose last event before the cut is for validation.
        lot: 0..LOTS - 1, of the items known at the cut, the lot that is held out and stands for new
            items; None: new is what came after the cut.
    """
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE events AS SELECT * FROM "  # noqa: S608 - a constant's name
            f"read_parquet('{_quoted(tables / col.INTERACTIONS_FILE)}')"
        )
        times = connection.execute(
            "SELECT quantile_disc(ts, [?, ?]) FROM events", [cut, end]
        ).fetchone()
        assert times is not None
        cut_utc, end_utc = map(int, times[0])
        known_ids = connection.execute(
            "SELECT DISTINCT item_id FROM events WHERE ts <= ? ORDER BY item_id", [cut_utc]
        ).fetchall()
        held = [item for (item,) in known_ids if lot is not None and lot_of(item) == lot]
        connection.execute("CREATE TABLE held (item_id VARCHAR)")
        connection.execute("INSERT INTO held SELECT unnest(?::VARCHAR[])", [held])
        later = f"first > {cut_utc} AND first <= {end_utc}"
        for name, condition in (
            ("known", f"first <= {cut_utc} AND {_FREE}"),
            ("new", later if lot is None else f"NOT {_FREE}"),
        ):
            (work / name).mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"COPY (SELECT i.* FROM read_parquet('{_quoted(tables / col.ITEMS_FILE)}') i "  # noqa: S608
                "JOIN (SELECT item_id, min(ts) AS first FROM events GROUP BY item_id) USING "
                f"(item_id) WHERE {condition} ORDER BY item_id) "
                f"TO '{_quoted(work / name / col.ITEMS_FILE)}' (FORMAT parquet)"
            )
        connection.execute(
            f"COPY (SELECT * FROM events WHERE ts <= {cut_utc} AND {_FREE} "  # noqa: S608
            "ORDER BY ts, user_id, item_id) "
            f"TO '{_quoted(work / 'known' / col.INTERACTIONS_FILE)}' (FORMAT parquet)"
        )
        touches = connection.execute(
            "SELECT user_id, item_id FROM events GROUP BY user_id, item_id "
            "HAVING min(ts) > ? AND min(ts) <= ? ORDER BY user_id, item_id",
            [cut_utc, end_utc],
        ).fetchall()
    known = load_dataset(recipe, work / "known")
    new = load_items(work / "new")
    users, new_taken, known_taken = _taken(known, new, touches)
    if not any(map(len, new_taken)):
        raise InputError(
            f"{tables}: nobody known before the cut at {cut:.0%} took an item that came after it; "
            "cut elsewhere, or bring data in which items arrive."
        )
    return ColdSplit(
        known=_with_folds(known, seed),
        new=new,
        cut_utc=cut_utc,
        end_utc=end_utc,
        users=users,
        new_taken=new_taken,
        known_taken=known_taken,
    )


def lot_of(item_id: str) -> int:
    """Return the lot of an item, 0..LOTS - 1; the same in every run."""
    return zlib.crc32(item_id.encode()) % LOTS


def _taken(
    known: Dataset, new: Items, touches: list[tuple[str, str]]
) -> tuple[NDArray[np.int64], list[NDArray[np.int32]], list[NDArray[np.int32]]]:
    user_of = {user_id: user for user, user_id in enumerate(known.user_ids)}
    new_row = {item_id: row for row, item_id in enumerate(new.ids)}
    known_row = {item_id: row for row, item_id in enumerate(known.items.ids)}
    found: dict[int, tuple[list[int], list[int]]] = {}
    for user_id, item_id in touches:
        if user_id not in user_of:
            continue  # came after the cut: no history to rank by
        of_new, of_known = found.setdefault(user_of[user_id], ([], []))
        if item_id in new_row:
            of_new.append(new_row[item_id])
        elif item_id in known_row:  # else it came after the cut while a lot is held out
            of_known.append(known_row[item_id])
    users = sorted(found)
    return (
        np.array(users, np.int64),
        [np.array(found[user][0], np.int32) for user in users],
        [np.array(found[user][1], np.int32) for user in users],
    )


def _with_folds(known: Dataset, seed: int) -> Dataset:
    """Keep the last event of one user in ten for validation; the rest is for training.

    The recipe's splits take one or two events of every user, most of what a short history has.
    """
    lengths = np.diff(known.offsets)
    eligible = np.flatnonzero(lengths >= MIN_USER_EVENTS)
    if not len(eligible):
        raise InputError(
            f"no user has {MIN_USER_EVENTS} events before the cut (the longest history has "
            f"{lengths.max(initial=0)}), so none can be kept for validation; cut later."
        )
    n = max(1, round(VALID_USERS * len(eligible)))
    chosen = np.random.default_rng(seed).choice(eligible, n, replace=False)
    fold = np.full(len(known.rows), TRAIN, np.int8)
    fold[known.offsets[1:][chosen] - 1] = VALID
    return replace(known, fold=fold)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
