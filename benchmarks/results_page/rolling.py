"""The final fit, week after week, beside refitted baselines."""

from benchmarks.results_page.quality import SIMPLE
from benchmarks.results_page.section import Run, Section
from benchmarks.results_page.table import Column, Row, Table, Target

_LABELS = {
    "final fit": "PocketRec, final fit",
    "without the final fit": "PocketRec, without the newest 20%",
    **SIMPLE,
}
_SETTINGS = {"new_to_user": "New items alone", "all": "All items"}


def _targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target(
            "NDCG@20 of the final fit, against the evaluation fit",
            "",
            figures["ndcg_final"],
            "at least",
            figures["ndcg_without"],
            4,
        ),
        Target(
            "NDCG@20 of the final fit, against the best baseline",
            "",
            figures["ndcg_final"],
            "at least",
            figures["ndcg_best_baseline"],
            4,
        ),
    ]


def _tables(run: Run) -> list[Table]:
    keys = ("ndcg20", "ndcg20_low", "ndcg20_high", "recall20")
    columns = [
        Column("NDCG@20", 4, "high"),
        Column("low", 4),
        Column("high", 4),
        Column("Recall@20", 4, "high"),
    ]
    return [
        Table(
            f"{title}, all weeks",
            "method",
            columns,
            [
                Row(label, [row[key] for key in keys])
                for method, label in _LABELS.items()
                for row in run.where(setting=setting, method=method, week="all weeks")
            ],
        )
        for setting, title in _SETTINGS.items()
    ]


SECTIONS = (
    Section(
        name="rolling",
        claim=(
            "A release whose models learned from all events answers the next week better than one"
            " without the newest 20%, and better than the best refitted baseline."
        ),
        command="pocketrec bench rolling --data FOLDER --json FILE",
        data="Online Retail II; two weeks, each answered by models trained on all before it.",
        targets=_targets,
        tables=_tables,
        notes=(
            "The best baseline is chosen on the answers themselves.",
            "The recipe is smaller than that of `quality-retail`.",
        ),
        guide="[The final fit](ml-engineer.md#the-final-fit)",
    ),
)
