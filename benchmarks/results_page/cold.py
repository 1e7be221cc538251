"""New items: known by their content alone."""

from benchmarks.results_page.section import Run, Section
from benchmarks.results_page.table import Column, Row, Table, Target

SETS = {
    "retail": "Online Retail II, held out",
    "retail_arrivals": "Online Retail II, arrivals",
    "movies": "MovieTweetings",
}


def _targets(run: Run) -> list[Target]:
    found = []
    for key, data in SETS.items():
        ratio = run.figures[f"recall50_{key}"] / run.figures[f"random_recall50_{key}"]
        found.append(Target(f"{data}: Recall@50 over random order", "", ratio, "at least", 3, 1))
        low = run.figures[f"gain_low_{key}"]
        figure = f"{data}: low end of the 95% interval of the lead over title similarity"
        found.append(Target(figure, "", low, "above", 0, 3))
    return found


def _tables(run: Run) -> list[Table]:
    methods = {"by content": "PocketRec, by content"}
    if "recall50_votes_retail" in run.figures:  # results stored before votes were measured
        methods["by content and votes"] = "PocketRec, by content and votes of the history"
    methods |= {
        "item tower alone": "PocketRec, item tower alone",
        "title similarity": "title similarity (tf-idf), tuned",
        "random order": "random order",
        "most taken afterwards": "most taken afterwards (knows the future)",
    }
    recall = Table(
        "Recall@50 in the pool of new items",
        "method",
        [Column(data, 3, "high") for data in SETS.values()],
        [
            Row(
                label,
                [
                    run.number("value", data=data, what=f"Recall@50, {name}")
                    for data in SETS.values()
                ],
                competes=name not in ("random order", "most taken afterwards"),
            )
            for name, label in methods.items()
        ],
    )
    lifted = ("retail_arrivals", "movies")
    shares = Table(
        "Share of slate places that new items get",
        "places",
        [Column(SETS[key], 3) for key in lifted],
        [
            Row("first 10", [run.figures[f"share10_{key}"] for key in lifted]),
            Row("first 20", [run.figures[f"share20_{key}"] for key in lifted]),
            Row("expected from the past", [run.figures[f"expected_share_{key}"] for key in lifted]),
            Row(
                "taken by users afterwards", [run.figures[f"actual_share_{key}"] for key in lifted]
            ),
        ],
    )
    kept = Table(
        "Of 10 items of a slate, kept after one more event",
        "event with",
        [Column(data, 1) for data in SETS.values()],
        [
            Row("a known item", [run.figures[f"kept_known_{key}"] for key in SETS]),
            Row(
                "the same item, as if it were new",
                [run.figures[f"kept_as_new_{key}"] for key in SETS],
            ),
        ],
    )
    return [recall, shares, kept]


SECTIONS = (
    Section(
        name="quality-cold",
        claim=(
            "Items that training never saw are found by their content at least three times as often"
            " as in random order and more often than by title similarity, and are shown about as"
            " often as users take them."
        ),
        command="pocketrec bench quality-cold --data DIR --json FILE",
        data=(
            "Online Retail II with a fifth of the products held out, and with the products that"
            " arrive after 40% of the events; MovieTweetings with the films that arrive after 80%."
        ),
        targets=_targets,
        tables=_tables,
        notes=("DIR holds `online_retail_ii/` and `movietweetings/`.",),
        guide="[New items](quality-cold.md)",
    ),
)
