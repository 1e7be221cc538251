"""The benchmark on a small made-up twin: cheap things sold by the hundred, dear ones one by one."""

import re

import duckdb
import numpy as np
import pytest

from benchmarks.harness import Options, document
from benchmarks.quality import objectives
from benchmarks.quality.revenue_tables import FILE
from pocketrec_bundle.errors import InputError

CHANGES = {
    "dim": 8,
    "blocks": 1,
    "max_history": 20,
    "per_item": 8,
    "epochs": 3,
    "batch": 16,
    "candidates": 30,
    "negatives": 29,
}


@pytest.fixture(scope="module")
def result(tmp_path_factory, in_process, uncompiled):
    folder = tmp_path_factory.mktemp("twin")
    write_shop(folder)
    text = objectives.RECIPE.read_text()
    for key, value in CHANGES.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    assert text.count("epochs = 3") == 2
    more = "epochs = 12\nneighbour_candidates = 5\nown_candidates = 12\nformula"
    text = text.replace("epochs = 3\nformula", more)
    (folder / "twin.toml").write_text(text)
    with uncompiled():
        return objectives.run(Options(work=folder / "work", data=folder), folder / "twin.toml")


def write_shop(folder):
    """Write lines of 50 customers: items of 1 pound in hundreds, items of 20 pounds as one."""
    rng, lines = np.random.default_rng(0), []
    for customer in range(50):
        mine = rng.choice(40, 8, replace=False)
        for week in range(12):
            day = 1 + 7 * (week % 4) + int(rng.integers(0, 7))
            stamp = f"2010-{1 + week // 4:02d}-{day:02d} 09:00:00"
            for item in {*rng.choice(mine, 4, replace=False), int(rng.integers(0, 40))}:
                is_bulk = item % 2
                quantity = int(rng.integers(80, 120)) if is_bulk else 1
                price = 1.0 if is_bulk else 20.0
                lines.append(
                    (f"{week}", f"S{item}", f"thing {item}", quantity, stamp, price, customer)
                )
    lines.append(("x", "S1", "a return", -5, "2010-01-02 09:00:00", 1.0, 1))
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t (Invoice TEXT, StockCode TEXT, Description TEXT, Quantity BIGINT, "
            'InvoiceDate TEXT, Price DOUBLE, "Customer ID" DOUBLE)'
        )
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", lines)
        connection.table("t").write_parquet(str(folder / FILE))


def test_the_value_head_finds_what_brings_revenue(result):
    figures = result.figures
    assert figures["revenue_gain_low"] > 0
    assert figures["revenue_gain"] == pytest.approx(
        figures["revenue_ndcg20"] - figures["rival_ndcg20"]
    )
    assert figures["revenue_gain_low"] < figures["revenue_gain"] < figures["revenue_gain_high"]


def test_every_formula_stands_in_the_table_with_its_interval(result):
    rows = {(row["setting"], row["formula"]): row for row in result.rows}
    assert len(rows) == len(result.rows) == 2 * 5
    for row in result.rows:
        assert 0 <= row["revenue_ndcg20_low"] <= row["revenue_ndcg20"] <= row["revenue_ndcg20_high"]
        assert row["revenue_ndcg20_high"] <= 1 and row["cases"] > 10
    ours = rows["all", objectives.OURS]["revenue_ndcg20"]
    assert ours == pytest.approx(result.figures["revenue_ndcg20"])
    assert document(result)["name"] == "objectives"


def test_the_folder_of_the_data_is_needed(tmp_path):
    with pytest.raises(InputError, match="--data FOLDER is needed"):
        objectives.run(Options(work=tmp_path / "work"))
