"""What another policy would have earned, against known truths."""

from benchmarks.results_page.section import Run, Section, number
from benchmarks.results_page.table import Column, Row, Table, Target

NAMES = {"dr": "doubly robust", "snips": "self-normalised IPS", "ips": "IPS"}
SCENES = {
    "item-position": "Simulated logs, another choice of items (item-position assumption)",
    "position-based": "Simulated logs, another order (position-based assumption)",
}
CAMPAIGNS = ("all", "men", "women")


def _targets(run: Run) -> list[Target]:
    found = []
    for ending, what in (("", "other items"), ("_position_based", "another order")):
        coverage = run.figures[f"coverage_95{ending}"]
        figure = f"logs whose 95% interval holds the truth, {what}"
        found.append(Target(figure, "", coverage, "at least", 0.93, 3))
        found.append(Target(figure, "", coverage, "at most", 0.97, 3))
        ratio = run.figures[f"dr_error_by_ips{ending}"]
        figure = f"error (RMSE) of doubly robust by that of IPS, {what}"
        found.append(Target(figure, "", ratio, "at most", 1, 3))
    figure = "Open Bandit Data: largest distance of doubly robust from BTS's own click rate"
    largest = run.figures["open_bandit_largest_z"]
    return [*found, Target(figure, "standard errors", largest, "at most", 2, 2)]


def _tables(run: Run) -> list[Table]:
    columns = [
        Column("error (RMSE)", 4, "low"),
        Column("mean estimate", 4),
        Column("truth", 4),
        Column("coverage of the 95% interval", 3),
    ]
    keys = ("rmse", "mean", "truth", "coverage_95")
    tables = [
        Table(
            title,
            "estimator",
            columns,
            [
                Row(
                    label,
                    [run.one(data=f"simulated, {scene}", estimator=name)[key] for key in keys],
                )
                for name, label in NAMES.items()
            ],
        )
        for scene, title in SCENES.items()
    ]
    shown = ("logged", "mean", "low", "high", "truth")
    rows = []
    for campaign in CAMPAIGNS:
        row = run.one(data=f"Open Bandit Data, {campaign}", estimator="dr")
        rows.append(Row(campaign, [1000 * number(row[key]) for key in shown]))
    words = (
        "random policy's own",
        "BTS, estimated",
        "interval, low",
        "interval, high",
        "BTS's own",
    )
    return [
        *tables,
        Table(
            "Open Bandit Data: clicks of 1,000 impressions, doubly robust",
            "page",
            [Column(word, 2) for word in words],
            rows,
        ),
    ]


SECTIONS = (
    Section(
        name="off-policy",
        claim=(
            "Intervals of off-policy estimates hold the truth as often as they say, and the doubly"
            " robust estimate errs by no more than inverse propensity scoring (IPS)."
        ),
        command="pocketrec bench off-policy --json FILE",
        data=(
            "500 and 2,000 simulated logs of 500 users with 4 slates of 8 places, a fifth of the"
            " places explored; Open Bandit Data (CC BY 4.0, ZOZO), small sample: 10,000 rows of"
            " each policy."
        ),
        targets=_targets,
        tables=_tables,
        notes=(
            "The examination of places is known in the simulated logs; `policy-value` fits it.",
            "A log of the sample has about 40 clicks: it shows agreement, not precision.",
        ),
        guide="[Value of a policy](server/policy-value.md)",
    ),
)
