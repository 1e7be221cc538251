"""The recipes of registered data sets, on the real files."""

import duckdb
import pytest

from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe


@pytest.fixture
def built(repository, data_root, tmp_path, monkeypatch):
    """Return a function that builds the tables of a recipe: (recipe, folder) -> report."""
    monkeypatch.setenv("POCKETREC_CACHE", str(tmp_path / "cache"))

    def build(name: str, folder: str):
        if not (data_root / folder).is_dir():
            pytest.skip(f"no {folder} in {data_root}; see POCKETREC_DATA")
        recipe = load_recipe(repository / "recipes" / f"{name}.toml")
        return build_tables(recipe, tmp_path / "data", data_root / folder)

    return build


def events(folder) -> dict[str, int]:
    query = "SELECT event, count(*) FROM read_parquet(?) GROUP BY event"
    found = duckdb.sql(query, params=[str(folder / "data" / "interactions.parquet")])
    assert found is not None
    return dict(found.fetchall())


def test_retail_has_the_published_counts(built, tmp_path):
    report = built("retail", "online_retail_ii")
    assert (report.rows_in, report.users, report.items) == (407_664, 4_312, 4_017)
    assert report.quarantined == 0
    assert events(tmp_path) == {"purchase": report.interactions}
    prices = "SELECT count(*), min(price) FROM read_parquet(?) WHERE price IS NOT NULL"
    items = str(tmp_path / "data" / "items.parquet")
    found = duckdb.sql(prices, params=[items])
    assert found is not None
    ((priced, least),) = found.fetchall()
    assert priced == 4_017
    assert least > 0


def test_movietweetings_has_the_published_counts(built, tmp_path):
    report = built("movietweetings", "movietweetings")
    assert (report.rows_in, report.users) == (100_000, 16_554)
    assert report.items >= 10_506
    found = events(tmp_path)
    assert set(found) == {"rating", "like"}
    assert sum(found.values()) == report.interactions
