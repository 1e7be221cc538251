"""The display catalogue: one SQLite file; equal items give equal bytes.

A reader treats it as hostile: a view could run forever, and a text could fill the memory.
"""

import errno
import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.disk.files import write_failed
from pocketrec_bundle.errors import BundleInvalidError, InputError

MAX_ITEM_BYTES = 64 << 10
"""Maximum bytes of an item's texts together."""
MAX_ID = 256
"""Maximum characters of an item's or user's id, for writers and for events on a server."""
MAX_PRICE = 1e12
"""Maximum price; readers refuse numbers beyond 1e15, and float32 holds this one."""
TABLE = (
    "CREATE TABLE item (row INTEGER PRIMARY KEY, item_id TEXT NOT NULL, "
    "title TEXT NOT NULL, categories TEXT NOT NULL, price REAL, year INTEGER)"
)
"""The only accepted table; a view or computed column would run what its author wrote."""

_SELECT = "SELECT row, item_id, title, categories, price, year FROM item"

_STEPS = 1000
"""SQLite steps between two checks of the limit; reading the schema takes fewer."""
_STEPS_A_ROW = 100
"""Steps allowed for each look-up by row number, which takes about 15."""


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """The texts of one item that a person sees.

    Attributes:
        row: its row in the release.
        item_id: the app's own id.
        title: of the item.
        categories: names joined by "|".
        price: None if unknown.
        year: None if unknown.
    """

    row: int
    item_id: str
    title: str
    categories: str
    price: float | None
    year: int | None


def write_catalogue(path: Path, items: Iterable[CatalogueItem]) -> None:
    """Write a new catalogue file; VACUUM orders it by row number.

    Raises:
        InputError: the texts of an item are too long.
        PocketRecError: the disk is full or cannot be written; the file at `path` is unusable.
    """
    path.unlink(missing_ok=True)
    try:
        _write(path, items)
    except sqlite3.Error as err:
        full = getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise write_failed(path, OSError(errno.ENOSPC if full else errno.EIO, str(err))) from err


def _write(path: Path, items: Iterable[CatalogueItem]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ITEM_BYTES)
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(TABLE)
        connection.execute("BEGIN")
        for item in items:
            _insert(connection, item)
        connection.execute("COMMIT")
        connection.execute("VACUUM")
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, item: CatalogueItem) -> None:
    texts = item.item_id, item.title, item.categories
    try:
        connection.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?)", (item.row, *texts, item.price, item.year)
        )
    except sqlite3.DataError as err:
        raise InputError(
            f"item {item.item_id!r:.200}: its id, title and categories exceed {MAX_ITEM_BYTES} "
            "bytes. Shorten them."
        ) from err


class Catalogue:
    """An open catalogue file; opening and checking it takes as long as reading a slate's texts."""

    def __init__(self, path: Path) -> None:
        """Open the file and check its table.

        Raises:
            BundleInvalidError: the file is not a readable catalogue.
        """
        self._left = 0
        with _wrapped():
            address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ITEM_BYTES)
            self._connection.set_progress_handler(self._is_over, _STEPS)
            self._connection.execute("PRAGMA cell_size_check = ON")
            self._allow(0)
            schema = "SELECT type, sql FROM sqlite_master WHERE name = 'item'"
            if self._connection.execute(schema).fetchall() != [("table", TABLE)]:
                raise BundleInvalidError(
                    "catalogue.sqlite: has no table item of version 1", code="catalogue_table"
                )

    def items(self, rows: Iterable[int]) -> list[CatalogueItem]:
        """Return the items of some rows, in the order asked; rows without an entry are left out.

        Raises:
            BundleInvalidError: the file cannot be read, or a query exceeds its limits.
        """
        wanted = [int(row) for row in rows]
        with _wrapped():
            self._allow(len(wanted))
            select = f"{_SELECT} WHERE row = ?"
            fetched = [self._connection.execute(select, (row,)).fetchone() for row in wanted]
        return [_item(values) for values in fetched if values is not None]

    def all_items(self, n: int) -> Iterator[CatalogueItem]:
        """Yield the items of rows 0..n-1 in order, in one pass over the file.

        Raises:
            BundleInvalidError: as `items`; or the rows there are others.
        """
        with _wrapped():
            self._allow(n)
            for row, values in enumerate(self._connection.execute(f"{_SELECT} ORDER BY row")):
                if values[0] != row or row >= n:
                    raise BundleInvalidError(
                        f"catalogue.sqlite: its rows are not 0..{n - 1}", code="catalogue_rows"
                    )
                yield _item(values)
            if self._connection.execute("SELECT count(*) FROM item").fetchone() != (n,):
                raise BundleInvalidError(
                    f"catalogue.sqlite: has fewer rows than {n}", code="catalogue_rows"
                )

    def _allow(self, n: int) -> None:
        """Allow SQLite the steps that looking up `n` rows may take."""
        self._left = 2 + n * _STEPS_A_ROW // _STEPS

    def _is_over(self) -> bool:
        """Return True to interrupt a query; SQLite calls it every `_STEPS` steps."""
        self._left -= 1
        return self._left < 0


@contextmanager
def _wrapped() -> Iterator[None]:
    """Turn every SQLite error into a BundleInvalidError."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as err:  # SQLite's message may quote the file
        raise BundleInvalidError(
            f"catalogue.sqlite: cannot be read ({str(err)[:200]})", code="catalogue_unreadable"
        ) from err


def _item(values: tuple[object, ...]) -> CatalogueItem:
    """Check the types of one row: SQLite stores any type in any column."""
    match values:
        case int(row), str(item_id), str(title), str(joined), float() | None as price, (
            int() | None as year
        ) if price is None or math.isfinite(price):
            return CatalogueItem(row, item_id, title, joined, price, year)
    raise BundleInvalidError(
        "catalogue.sqlite: an item has a value of the wrong type", code="catalogue_value"
    )
