from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation.same_data import check_same_data
from pocketrec_training.recipe.load import parse_recipe

RECIPE = parse_recipe(
    {
        "name": "s",
        "data": {"interactions": "i.csv"},
        "columns": {"timestamp_unit": "s"},
    },
    "s.toml",
)


@pytest.fixture
def folders(tmp_path):
    """Write tables of these (user, item, second) rows; returns the folder."""

    def write(name, rows):
        source = tmp_path / f"{name}-source"
        source.mkdir()
        lines = ["user_id,item_id,timestamp", *(f"{u},{i},{t}" for u, i, t in rows)]
        (source / "i.csv").write_text("\n".join(lines))
        build_tables(RECIPE, tmp_path / name, source)
        return tmp_path / name

    return write


ROWS = [(f"u{u}", f"i{(u + n) % 7}", 1000 * u + n) for u in range(9) for n in range(6)]


def checked(run, data):
    trained: Any = SimpleNamespace(recipe=RECIPE, items=load_dataset(RECIPE, run).items)
    check_same_data(trained, run, load_dataset(RECIPE, data), data)


def test_the_run_s_own_tables_pass_also_when_written_in_another_order(folders):
    run, again = folders("run", ROWS), folders("again", ROWS)
    checked(run, again)
    file = again / col.INTERACTIONS_FILE
    with duckdb.connect() as connection:
        events = connection.read_parquet(str(file)).order("item_id DESC")
        events.write_parquet(f"{file}.new")
    Path(f"{file}.new").replace(file)
    checked(run, again)


def test_one_item_more_is_refused_by_name(folders):
    run, other = folders("run", ROWS), folders("other", [*ROWS, ("u1", "new", 5)])
    with pytest.raises(RunInvalidError, match=r"8 items, the run has 7; item 'new' is in one"):
        checked(run, other)


def test_an_item_renamed_is_refused(folders):
    renamed = [(u, "a0" if i == "i6" else i, t) for u, i, t in ROWS]
    with pytest.raises(RunInvalidError, match="'a0' is in one of them only"):
        checked(folders("run", ROWS), folders("other", renamed))


def test_an_older_export_whose_last_events_the_models_learned_from_is_refused(folders):
    older = [row for row in ROWS if row[2] % 1000 != 5]
    with pytest.raises(
        RunInvalidError, match=r"45 events of 9 users, the run has 54 of 9.*held out"
    ):
        checked(folders("run", ROWS), folders("other", older))
