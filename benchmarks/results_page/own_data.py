"""Data sets of strangers, with the recipe that `pocketrec init` writes."""

from benchmarks.results_page.section import Run, Section, number
from benchmarks.results_page.table import Column, Row, Table, Target


def _targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target("data sets", "", figures["datasets"], "at least", 9),
        Target("data sets of real people", "", figures["real_datasets"], "at least", 7),
        Target(
            "data sets where the release is below the best baseline",
            "",
            figures["below_best_baseline"],
            "at most",
            0,
        ),
        Target("commands to the first slate", "", figures["commands_max"], "at most", 6),
    ]


def _tables(run: Run) -> list[Table]:
    keys = ("ndcg10", "baseline_ndcg10", "ratio", "difference_low", "difference_high")
    columns = [
        Column("release", 4),
        Column("best baseline", 4),
        Column("ratio", 3),
        Column("difference, low", 4),
        Column("difference, high", 4),
        Column("minutes to the first slate", 1),
    ]
    rows = [
        Row(str(row["title"]), [number(row[key]) for key in (*keys, "minutes_to_slate")])
        for row in run.rows
        if row["verdict"] != "failed"
    ]
    return [Table("NDCG@10 of test cases", "data", columns, rows)]


SECTIONS = (
    Section(
        name="own-data",
        claim=(
            "With the recipe of `pocketrec init` and no tuning, the release is never clearly below"
            " the best of all tuned baselines."
        ),
        command="pocketrec bench own-data --data FOLDER --json FILE",
        data="Public data sets as people have them, and two drawn ones, each from its raw files.",
        targets=_targets,
        tables=_tables,
        notes=(
            "Rows are measured one after the other; each row of the JSON names its commit.",
            "Times were measured beside other busy processes.",
        ),
        guide="[Bring your own data](bring-your-own-data.md)",
    ),
)
