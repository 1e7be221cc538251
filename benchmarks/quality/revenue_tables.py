"""Online Retail II with the revenue of each line, as files that a recipe of one's own reads."""

from pathlib import Path

import duckdb

FILE = "online_retail_2009_2010.parquet"
_BOUGHT = 'FROM read_parquet(?) WHERE "Customer ID" IS NOT NULL AND Quantity > 0 AND Price > 0'


def write_revenue_tables(source: Path, out: Path) -> None:
    """Write `interactions.parquet` (user, item, time, revenue in GBP) and `items.parquet`.

    Returns and test lines are left out, as in the registered data set `online-retail-ii`.

    Args:
        source: folder of `FILE`.
        out: folder, made if it is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        for name, columns in {
            "interactions.parquet": 'SELECT CAST("Customer ID" AS BIGINT) user_id, StockCode '
            f'item_id, InvoiceDate "timestamp", Quantity * Price revenue {_BOUGHT}',
            "items.parquet": "SELECT StockCode item_id, mode(Description) title, median(Price) "
            f"price {_BOUGHT} GROUP BY StockCode",
        }.items():
            connection.sql(columns, params=[str(source / FILE)]).write_parquet(str(out / name))
