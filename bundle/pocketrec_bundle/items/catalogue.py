"""The display catalogue: one SQLite file, built so that equal items give equal bytes.

A reader takes it for hostile: a view could run forever, a text fill the memory.
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
"""Most that an item's texts may take together."""
MAX_ID = 256
"""Characters of an item's or user's id: writers refuse more, servers take no event with more."""
MAX_PRICE = 1e12
"""Most that a price may be: readers refuse numbers beyond 1e15, and float32 holds it."""
TABLE = (
    "CREATE TABLE item (row INTEGER PRIMARY KEY, item_id TEXT NOT NULL, "
    "title TEXT NOT NULL, categories TEXT NOT NULL, price REAL, year INTEGER)"
)
"""The one form of the table: a view or computed column would run what its author wrote."""

_SELECT = "SELECT row, item_id, title, categories, price, year FROM item"

_STEPS = 1000
"""Steps of SQLite between two looks at whether it is over; the schema takes fewer."""
_STEPS_A_ROW = 100
"""One look-up by row number takes about 15."""


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """What a person sees of an item; price and year are None where unknown.

    categories: names joined by "|".
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
        PocketRecError: the disk is full or cannot be written; what is there of `path` is no file.
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
    """A catalogue file, held open: opening and checking it costs as much as a slate's texts."""

    def __init__(self, path: Path) -> None:
        """Open it and check its form.

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
        """Return the items of some rows, in the order asked; rows unknown there are left out.

        Raises:
            BundleInvalidError: the file cannot be read, or holds more than it should.
        """
        wanted = [int(row) for row in rows]
        with _wrapped():
            self._allow(len(wanted))
            select = f"{_SELECT} WHERE row = ?"
            found = [self._connection.execute(select, (row,)).fetchone() for row in wanted]
        return [_item(values) for values in found if values is not None]

    def all_items(self, n: int) -> Iterator[CatalogueItem]:
        """Yield the items of rows 0..n-1 in order, one pass over the file.

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
        """Let SQLite work for as long as `n` rows may take."""
        self._left = 2 + n * _STEPS_A_ROW // _STEPS

    def _is_over(self) -> bool:
        """Called by SQLite every `_STEPS` steps; True interrupts."""
        self._left -= 1
        return self._left < 0


@contextmanager
def _wrapped() -> Iterator[None]:
    """Whatever SQLite finds wrong in a catalogue is a BundleInvalidError."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as err:  # SQLite's message may quote the file
        raise BundleInvalidError(
            f"catalogue.sqlite: cannot be read ({str(err)[:200]})", code="catalogue_unreadable"
        ) from err


def _item(values: tuple[object, ...]) -> CatalogueItem:
    """Check one row: SQLite stores a text in a column of numbers and the other way round."""
    match values:
        case int(row), str(item_id), str(title), str(joined), float() | None as price, (
            int() | None as year
        ) if price is None or math.isfinite(price):
            return CatalogueItem(row, item_id, title, joined, price, year)
    raise BundleInvalidError(
        "catalogue.sqlite: an item has a value of the wrong type", code="catalogue_value"
    )
