import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import BENCHMARKS
from benchmarks.results_page import page as pages
from benchmarks.results_page import readme
from benchmarks.results_page.section import Run, read_run
from benchmarks.results_page.table import Column, Row, Table, Target, targets_markdown


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return pages.read_runs()


def test_page_is_what_the_results_say(repository: Path, runs: dict[str, Run]):
    written = (repository / "docs" / "benchmarks.md").read_text()
    assert written == pages.page(runs), "run `make docs`"


def test_claims_of_the_readme_are_what_the_results_say(repository: Path, runs: dict[str, Run]):
    written = (repository / "README.md").read_text()
    assert written == readme.with_claims(written, runs), "run `make docs`"


def test_a_changed_figure_changes_page_and_readme(runs: dict[str, Run]):
    sync = runs["sync"]
    changed = dataclasses.replace(sync, figures={**sync.figures, "delta_bytes": 987_000.0})
    others = {**runs, "sync": changed}
    assert pages.page(others) != pages.page(runs)
    assert "| 987 | 134, bsdiff | kB | `pocketrec bench sync` |" in readme.claims(others)


def test_the_command_writes_page_and_readme(repository: Path, tmp_path: Path):
    text = f"# A\n{readme.BEGIN}\nold\n{readme.END}\nend\n"
    (tmp_path / "README.md").write_text(text)
    words = (sys.executable, "-m", "benchmarks.results_page")
    out = [str(tmp_path / "page.md"), str(tmp_path / "README.md")]
    subprocess.run([*words, *out], check=True, cwd=repository)
    assert (tmp_path / "page.md").read_text() == (repository / "docs/benchmarks.md").read_text()
    written = (tmp_path / "README.md").read_text()
    assert written.startswith("# A\n")
    assert written.endswith("end\n")
    assert "old" not in written
    assert "pocketrec bench device" in written


def test_a_readme_without_its_marks_is_refused(runs: dict[str, Run]):
    with pytest.raises(ValueError, match="needs the lines"):
        readme.with_claims("# A\n", runs)


def test_every_benchmark_and_every_stored_result_is_on_the_page(runs: dict[str, Run]):
    sections = {section.name for group in pages.GROUPS.values() for section in group}
    assert sections == set(runs)
    text = pages.page(runs)
    missing = [name for name in BENCHMARKS if f"### {name}\n" not in text]
    (told,) = [line for line in text.splitlines() if line.startswith("Without a stored")] or [""]
    for name in missing:
        assert name not in runs
        assert f"`{name}`" in told


def test_commands_of_the_page_name_benchmarks(runs: dict[str, Run]):
    for group in pages.GROUPS.values():
        for section in group:
            words = section.command.split()
            if words[:2] == ["pocketrec", "bench"]:
                assert words[2] in BENCHMARKS


def test_no_table_is_giant_and_no_cell_holds_two_numbers(runs: dict[str, Run]):
    for group in pages.GROUPS.values():
        for section in group:
            for table in section.tables(runs[section.name]):
                assert 1 <= len(table.rows) <= 15, f"{section.name}: {table.title}"
                assert len(table.columns) <= 7, f"{section.name}: {table.title}"
                cells = [value for row in table.rows for value in row.values]
                assert not [each for each in cells if isinstance(each, str) and " / " in each]


def test_the_best_of_a_column_is_bold_whoever_it_is():
    table = Table(
        "Search",
        "method",
        [Column("ms", 1, "low"), Column("recall", 2, "high"), Column("bytes")],
        [Row("ours", [0.63, 0.95, 10]), Row("peer", [0.45, 0.9549, 5])],
    )
    assert table.markdown().splitlines()[2:] == [
        "| method | ms | recall | bytes |",
        "| --- | ---: | ---: | ---: |",
        "| ours | 0.6 | **0.95** | 10 |",
        "| peer | **0.5** | **0.95** | 5 |",
    ]


def test_a_bound_is_never_bold_and_a_lone_value_neither():
    rows = [Row("ours", [0.3]), Row("knows the future", [0.9], competes=False)]
    assert "**" not in Table("Recall", "method", [Column("recall", 1, "high")], rows).markdown()


def test_unknown_values_are_empty_cells():
    rows = [Row("a", [None]), Row("b", [1200])]
    assert "| a |  |\n| b | 1,200 |" in Table("T", "x", [Column("n")], rows).markdown()


@pytest.mark.parametrize(
    ("value", "relation", "limit", "reached"),
    [
        (5.0, "at most", 5.0, True),
        (5.001, "at most", 5.0, False),
        (0.95, "at least", 0.95, True),
        (0.0, "above", 0.0, False),
        (0.0, "below", 0.0, False),
        (1.0, "exactly", 1.0, True),
    ],
)
def test_a_target_is_judged_by_the_exact_value(value, relation, limit, reached):
    target = Target("p99", "ms", value, relation, limit)
    assert target.is_reached is reached
    verdict = "yes" if reached else "no"
    assert targets_markdown([target]).endswith(f"{relation} {limit:,.0f} | {verdict} |")


def test_a_result_without_its_date_is_refused(tmp_path: Path):
    (tmp_path / "x.json").write_text(json.dumps({"name": "x", "rows": []}))
    with pytest.raises(KeyError, match="date"):
        read_run(tmp_path / "x.json")
