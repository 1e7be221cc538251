"""Rows that cannot be used: counted by reason, kept in `quarantine.jsonl`, limited in share."""

from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_training.data import columns as col
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.raw_table import PLACE


def count_reasons(staged: ir.Table, table: str) -> dict[str, tuple[int, str]]:
    """Return "table: reason" -> number of bad rows, and file and line of the first."""
    bad = staged.filter(staged[col.REASON].notnull())
    counts = bad.group_by(col.REASON).agg(
        n=bad.count(),
        file=bad["file"].first(order_by=bad[PLACE]),
        line=bad["line"].first(order_by=bad[PLACE]),
    )
    return {
        f"{table}: {row[col.REASON]}": (int(row["n"]), f"{row['file']}:{row['line']}")
        for row in counts.order_by(col.REASON).to_pyarrow().to_pylist()
    }


def bad_rows(staged: ir.Table, table: str) -> ir.Table:
    """Return the bad rows as they go to the file: table, reason, row, place (file and line)."""
    bad = staged.filter(staged[col.REASON].notnull())
    return bad.select(
        table=ibis.literal(table),
        reason=bad[col.REASON],
        row=bad["row"],
        place=bad["file"] + ":" + bad["line"].cast("string"),
    )


def saved_rows(connection: Backend, folder: Path) -> ir.Table:
    """Read a folder's quarantine file; it may be empty, and earlier versions wrote no place."""
    columns = dict.fromkeys(("table", "reason", "row", "place"), "VARCHAR")
    path = str(folder / col.QUARANTINE_FILE)
    return connection.read_json(path, columns=columns, format="newline_delimited")


def write_quarantine(connection: Backend, bad: ir.Table, folder: Path) -> None:
    """Write bad rows in a fixed order, one JSON object a line."""
    ordered = bad.order_by(["table", col.REASON, "row", "place"])
    target = str(folder / col.QUARANTINE_FILE).replace("'", "''")
    # Ibis's to_json writes one array; DuckDB's COPY writes a line an object, and streams.
    connection.raw_sql(f"COPY ({ibis.to_sql(ordered)}) TO '{target}' (FORMAT json)")


def refuse_too_many(
    allowed: float, file: str, reasons: dict[str, int], examples: dict[str, str], n_rows: int
) -> None:
    """Stop where a larger share than `allowed` of a delivery's rows is bad.

    Raises:
        TableInvalidError: it is; the text counts the reasons.
    """
    n_bad = sum(reasons.values())
    if n_bad <= allowed * n_rows:
        return
    most = sorted(reasons.items(), key=lambda item: -item[1])
    counts = "; ".join(f"{reason}: {n} (first: {examples[reason]})" for reason, n in most[:5])
    if len(most) > 5:
        counts += f"; and {len(most) - 5} more reasons"
    raise TableInvalidError(
        f"{file}: {n_bad} of {n_rows} rows are bad "
        f"({n_bad / n_rows:.1%}, allowed {allowed:.1%}): {counts}. "
        "Mend the file or the recipe's columns, or raise data.max_bad_share."
    )
