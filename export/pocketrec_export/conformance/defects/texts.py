"""Faults of the catalogue: a reader finds them when it looks for titles."""

import sqlite3

from pocketrec_export.conformance.defects.defect import ALL_TEXTS, TEXTS, Defect, signed
from pocketrec_export.conformance.hostile_catalogues import hostile_catalogues

FILE = "catalogue.sqlite"
_HOSTILE = {
    "no SQLite": ("catalogue_unreadable", "16 bytes that begin as SQLite does"),
    "no table": ("catalogue_table", "no table item"),
    "view": ("catalogue_table", "item is a view"),
    "endless view": ("catalogue_table", "item is a view without an end"),
    "computed column": ("catalogue_table", "a column is computed"),
    "no key": ("catalogue_table", "the table has no key"),
    "other columns": ("catalogue_table", "the table has other columns"),
    "price of text": ("catalogue_value", "a price is a text"),
    "blob for text": ("catalogue_value", "a title is a blob"),
    "infinite price": ("catalogue_value", "a price is infinite"),
    "not UTF-8": ("catalogue_unreadable", "an id is not UTF-8"),
    "huge text": ("catalogue_unreadable", "a title of 2,000,000 letters"),
    "empty": ("catalogue_rows", "no rows"),
}


def _replaced(name: str, code: str, fault: str) -> Defect:
    return Defect(
        name="catalogue-" + name.lower().replace(" ", "-"),
        code=code,
        fault=f"{FILE}: {fault}",
        make=signed(FILE, lambda _: hostile_catalogues()[name]),
        step=ALL_TEXTS if code == "catalogue_rows" else TEXTS,
    )


def _late(data: bytes) -> bytes:
    """The last row has another number."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.execute("UPDATE item SET row = 1000 WHERE row = 47")
    connection.commit()
    return connection.serialize()


DEFECTS = (
    *(_replaced(name, *told) for name, told in _HOSTILE.items()),
    Defect(
        name="catalogue-row-1000",
        code="catalogue_rows",
        fault=f"{FILE}: the last row is 1000, not 47",
        make=signed(FILE, _late),
        step=ALL_TEXTS,
    ),
)
