"""Returns are counted and left out; a table of users gets its keys."""

from pathlib import Path

from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import load_recipe
from pocketrec_training.table_profile.profile import profile_files
from pocketrec_training.table_profile.recipe_text import recipe_text
from pocketrec_training.table_profile.report import profile_json, profile_lines

HEAD = "InvoiceNo,StockCode,Description,Unit Quantity,InvoiceDate,CustomerID\n"


def invoices(folder: Path, returned: int) -> Path:
    """320 lines of 40 customers, every 50th of them with the quantity `returned`."""
    path = folder / "buy.csv"
    rows = [
        f"{'C' if n % 50 == 0 and n else ''}{536365 + n // 8},"
        f"{85000 + n * 7 % 30},LANTERN {n * 7 % 30},"
        f"{returned if n % 50 == 0 else 3},2010-{1 + n // 8 % 12:02}-{13 + n % 8:02} 08:26:00,"
        f"{17000 + n // 8}\n"
        for n in range(320)
    ]
    path.write_text((HEAD + "".join(rows)).replace("Unit Quantity", "Quantity"))
    return path


def test_rows_that_look_like_returns_are_counted_and_left_out(tmp_path):
    profile = profile_files([invoices(tmp_path, -1)])
    (line,) = [line for line in profile_lines(profile) if line.startswith("returns")]
    assert line == (
        "returns  7 rows look like returns: Quantity is 0 or less; 6 of them have an InvoiceNo "
        "that begins with C. data.above leaves them out"
    )
    assert profile_json(profile)["returns"] == {"column": "Quantity", "rows": 7}
    (tmp_path / "recipe.toml").write_text(recipe_text(profile))
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert recipe.data.above == {"Quantity": 0}
    report = build_tables(recipe, tmp_path / "out")
    assert report.interactions == profile.facts.n == 313
    assert report.reasons == {"interactions: filtered by data.above.Quantity": 7}


def test_a_name_with_a_blank_is_a_quoted_key(tmp_path):
    path = invoices(tmp_path, -1)
    path.write_text(path.read_text().replace("Quantity", "Order qty"))
    assert profile_files([path]).returns is None  # no usual name
    path.write_text(path.read_text().replace("Order qty", "qty."))
    profile = profile_files([path])
    (tmp_path / "recipe.toml").write_text(recipe_text(profile))
    assert load_recipe(tmp_path / "recipe.toml").data.above == {"qty.": 0}


def test_quantities_above_0_are_not_filtered(tmp_path):
    profile = profile_files([invoices(tmp_path, 1)])
    assert profile.returns is None
    assert "[data.above]" not in recipe_text(profile)


def test_a_table_of_users_gets_its_keys(tmp_path):
    log = invoices(tmp_path, 1)
    people = tmp_path / "people.csv"
    people.write_text("uid,age\n" + "".join(f"{17000 + n},{20 + n}\n" for n in range(40)))
    profile = profile_files([log, people])
    (tmp_path / "recipe.toml").write_text(recipe_text(profile))
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert (recipe.data.users, recipe.columns.user_id) == (people.as_posix(), "uid")
    report = build_tables(recipe, tmp_path / "out")
    assert report.joins["users"].matched == 40


def test_a_table_of_other_users_is_not_named(tmp_path):
    log = invoices(tmp_path, 1)
    people = tmp_path / "people.csv"
    people.write_text("customerid;age\n" + "".join(f"{17030 + n};{20 + n}\n" for n in range(40)))
    profile = profile_files([log, people])
    assert profile.users is not None
    assert profile.matched_users is None
    assert "users = " not in recipe_text(profile)
