"""The display catalogue: one SQLite file, built so that equal items give equal bytes."""

import errno
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from bundle.errors import BundleInvalid
from bundle.files import write_failed


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
    """Write a new catalogue file; rows go in by row number, then VACUUM orders the pages.

    Raises:
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
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "CREATE TABLE item (row INTEGER PRIMARY KEY, item_id TEXT NOT NULL, "
            "title TEXT NOT NULL, categories TEXT NOT NULL, price REAL, year INTEGER)"
        )
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?)",
            (astuple(item) for item in sorted(items, key=lambda item: item.row)),
        )
        connection.execute("COMMIT")
        connection.execute("VACUUM")
    finally:
        connection.close()


def read_catalogue(path: Path, rows: Iterable[int]) -> list[CatalogueItem]:
    """Return the items of some rows, in the order asked; rows unknown there are left out.

    Raises:
        BundleInvalid: the file is not a readable catalogue.
    """
    wanted = [int(row) for row in rows]
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    query = "SELECT row, item_id, title, categories, price, year FROM item WHERE row = ?"
    try:
        connection = sqlite3.connect(address, uri=True)
        try:
            found = [connection.execute(query, (row,)).fetchone() for row in wanted]
        finally:
            connection.close()
    except sqlite3.Error as err:
        raise BundleInvalid(f"catalogue.sqlite: cannot be read ({err})") from err
    return [CatalogueItem(*values) for values in found if values is not None]
