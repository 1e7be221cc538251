"""SQLite files that make a careless reader of catalogues run code or exhaust its memory."""

# ruff: noqa: S608  # hostile SQL is what this file is about

import sqlite3
from functools import cache

TABLE = (
    "CREATE TABLE item (row INTEGER PRIMARY KEY, item_id TEXT NOT NULL, "
    "title TEXT NOT NULL, categories TEXT NOT NULL, price REAL, year INTEGER)"
)
LOOSE = "CREATE TABLE item (row, item_id, title, categories, price, year)"
HIDDEN = TABLE.replace("item (", "hidden (")
COUNT = "WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n)"
SCRIPTS = {
    "no table": "CREATE TABLE other (x)",
    "empty": TABLE,
    "endless view": f"CREATE VIEW item AS {COUNT} SELECT i AS row, i AS item_id, 't' AS title, "
    "'c' AS categories, 1.0 AS price, 1 AS year FROM n WHERE i < 0",
    "view": f"{HIDDEN}; INSERT INTO hidden VALUES (0, 'a', 't', 'c', 1, 1); "
    "CREATE VIEW item AS SELECT * FROM hidden",
    "view of a huge text": "CREATE VIEW item AS SELECT 0 AS row, 'a' AS item_id, "
    "hex(zeroblob(400000000)) AS title, 'c' AS categories, 1.0 AS price, 1 AS year",
    "computed column": "CREATE TABLE item (row INTEGER PRIMARY KEY, item_id TEXT, title TEXT AS "
    "(hex(zeroblob(1000000 + row))), categories TEXT, price REAL, year INTEGER); "
    "INSERT INTO item (row, item_id, categories) VALUES (0, 'a', 'c')",
    "no key": f"{LOOSE}; {COUNT} INSERT INTO item SELECT -i, i, i, i, i, i FROM n LIMIT 20000",
    "wrong types": f"{LOOSE}; INSERT INTO item VALUES (0, 1, x'ff', 2.5, 'dear', 'old')",
    "nulls": f"{LOOSE}; INSERT INTO item VALUES (0, NULL, NULL, NULL, NULL, NULL)",
    "infinite price": f"{TABLE}; INSERT INTO item VALUES (0, 'a', 't', 'c', 9e999, 1)",
    "price of text": f"{TABLE}; INSERT INTO item VALUES (0, 'a', 't', 'c', 'dear', 'old')",
    "blob for text": f"{TABLE}; INSERT INTO item VALUES (0, x'61', x'ff00', x'', 1, 1)",
    "not UTF-8": f"{TABLE}; INSERT INTO item VALUES (0, 'a', CAST(x'ff80' AS TEXT), 'c', 1, 1)",
    "lone surrogate": f"{TABLE}; "
    "INSERT INTO item VALUES (0, 'a', CAST(x'eda080' AS TEXT), 'c', 1, 1)",
    "huge text": f"{TABLE}; INSERT INTO item VALUES (0, 'a', hex(zeroblob(1000000)), 'c', 1, 1)",
    "trigger": f"{TABLE}; CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM item; END",
    "index on an expression": f"{TABLE}; CREATE INDEX i ON item (upper(title)); "
    "INSERT INTO item VALUES (0, 'a', 't', 'c', 1, 1)",
    "virtual table": "CREATE VIRTUAL TABLE item USING fts5 (row, item_id, title, categories, "
    "price, year)",
    "UTF-16": f"PRAGMA encoding = 'UTF-16le'; {TABLE}; "
    "INSERT INTO item VALUES (0, 'a', 'é', 'c', 1, 1)",
    "thousands of tables": ";".join(f"CREATE TABLE t{i} (x)" for i in range(2000)),
    "other columns": "CREATE TABLE item (row INTEGER PRIMARY KEY, title TEXT)",
    "temporary name": "CREATE TABLE ITEM AS SELECT 0 AS row",
}


@cache
def hostile_catalogues() -> dict[str, bytes]:
    """Build the files, by their fault; files that this SQLite cannot make are omitted."""
    made = {"no SQLite": b"SQLite format 3\x00", "nothing": b"", "zeros": bytes(8192)}
    for name, script in SCRIPTS.items():
        connection = sqlite3.connect(":memory:")
        try:
            connection.executescript(script)
            made[name] = connection.serialize()
        except sqlite3.OperationalError:  # built without that extension
            continue
        finally:
            connection.close()
    # SQLite quotes what it cannot parse, so its message is not valid text either.
    made["schema of no text"] = made["empty"].replace(b"TABLE item", b"TABLE \xff \x80")
    return made
