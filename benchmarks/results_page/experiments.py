"""Experiments: error rates of looks, intervals, the time of a report."""

from benchmarks.results_page.section import Run, Section
from benchmarks.results_page.table import Column, Row, Table, Target

_BYTES = {
    "impression_log_bytes_by_before": "in the log",
    "impression_upload_bytes_by_before": "in uploads (gzip)",
}
"""Runs of before 2026-12-02 lack these figures, and the processor time of the report."""


def _targets(run: Run) -> list[Target]:
    figures = run.figures
    return [
        Target(
            "A/A tests with a winner on any of 28 days, on sums",
            "",
            figures["aa_false_winners"],
            "at most",
            0.055,
            4,
        ),
        Target(
            "interval with CUPED over sqrt(1 - rho^2) of that without, largest deviation",
            "",
            figures["cuped_narrowing_error"],
            "at most",
            0.05,
            4,
        ),
        Target(
            "report on 10 million events", "s", figures["report_s_10m_events"], "at most", 60, 1
        ),
        Target("memory of that report", "GB", figures["report_peak_bytes"] / 1e9, "at most", 4, 2),
        *(
            Target(
                f"bytes of an impression {where}, by those of version 0.1; largest of all slates",
                "",
                figures[key],
                "at most",
                1,
                3,
            )
            for key, where in _BYTES.items()
            if key in figures
        ),
    ]


def _tables(run: Run) -> list[Table]:
    looks = Table(
        "Share of A/A tests that find a winner",
        "how they are looked at",
        [Column("conversion", 4), Column("revenue", 4)],
        [
            Row(
                label,
                [run.number(key, what="looks", name=name) for name in ("conversion", "revenue")],
            )
            for key, label in (
                ("bounds", "every day, with bounds"),
                ("naive", "every day, p < .05"),
                ("once", "once at the end, p < .05"),
            )
        ],
    )
    columns = [
        Column("users"),
        Column("correlation with the past", 3),
        Column("width with CUPED / without", 4),
        Column("sqrt(1 - rho^2)", 4),
    ]
    rows = [
        Row(str(row["name"]), [row[key] for key in ("users", "rho", "ratio", "expected")])
        for row in run.where(what="cuped")
    ]
    cuped = Table("Width of the interval", "users", columns, rows)
    events = run.one(what="looks", name="through events")
    other = Table(
        "Other figures",
        "",
        [Column("value", 4)],
        [
            Row("A/A tests through events", [events["tests"]]),
            Row("share of them with a winner", [events["bounds"]]),
            Row("events of the timed report", [run.figures["report_events"]]),
            *(
                Row("its processor time, s", [run.figures[key]])
                for key in ("report_cpu_s",)
                if key in run.figures
            ),
        ],
    )
    has_bytes = _BYTES.keys() <= run.figures.keys()
    return [looks, cuped, *([_bytes(run)] if has_bytes else []), other]


def _bytes(run: Run) -> Table:
    keys = {
        "log_bytes": "log",
        "log_bytes_before": "log, version 0.1",
        "upload_bytes": "upload",
        "upload_bytes_before": "upload, version 0.1",
    }
    return Table(
        "Bytes of an impression, its share of the request included",
        "slates",
        [Column(word, 1) for word in keys.values()],
        [Row(str(row["name"]), [row[key] for key in keys]) for row in run.where(what="impression")],
    )


SECTIONS = (
    Section(
        name="experiment",
        claim=(
            "Of experiments without a difference, at most 5.5% find a winner on any of 28 days;"
            " CUPED narrows the interval by sqrt(1 - rho^2), within 5%; a report on 10 million"
            " events takes at most a minute and 4 GB on two cores; an impression takes no more"
            " bytes than before requests had rows of their own."
        ),
        command="pocketrec bench experiment --data DIR --json FILE",
        data=(
            "Simulated A/A tests on sums and as Parquet exports; drawn users; customers of Online"
            " Retail II, split at random, four weeks against the four before; 100 drawn slates of"
            " each kind."
        ),
        targets=_targets,
        tables=_tables,
        guide="[Report of an experiment](server/experiment-report.md)",
    ),
)
