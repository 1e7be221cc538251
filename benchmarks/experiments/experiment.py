"""Experiments: the error rate of daily looks, the gain of CUPED, the time of a report, and bytes.

Claim: of experiments without a difference, at most 5.5% find a winner on any of 28 days; CUPED
narrows the interval by sqrt(1 - rho^2), within 5%; a report on 10 million events takes at most a
minute and 4 GB on two cores; an impression takes no more bytes of the log and of uploads than
before requests had rows of their own.
Data: 20,000 simulated A/A tests on sums (half on conversion, half on log-normal revenue), 200 as
Parquet exports through the report; drawn users of known correlation; Online Retail II (with
`--data`), customers split at random, four weeks against the four before. Peers for the looks:
p < .05 on any day, and one look at the end. Peer for the bytes: the same slates in the form of
version 0.1, through the same log and encoder. Repetitions: one; the seed is that of `--seed`.
"""

import sys

from rich.console import Console
from rich.table import Table

from benchmarks.demo import WIDTH, empty
from benchmarks.experiments import false_winners, narrowing
from benchmarks.experiments.report_time import report_time
from benchmarks.harness import Cell, Options, Result
from benchmarks.support.impression_bytes import Comparison, compare_forms

ON_SUMS, THROUGH_EVENTS = 20_000, 200
RHOS = (0.3, 0.5, 0.7)
USERS = 40_000
"""Draws 10.5 million events."""

Row = dict[str, Cell]


def run(
    options: Options,
    *,
    on_sums: int = ON_SUMS,
    through_events: int = THROUGH_EVENTS,
    users: int = USERS,
    console: Console | None = None,
) -> Result:
    """Run all parts; returns a row a measurement."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    work = empty(options.work)
    console.print("A/A tests on sums")
    rows = _looks(on_sums, options.seed)
    console.print("CUPED")
    narrow = [narrowing.drawn(rho, options.seed) for rho in RHOS]
    if options.data is not None and (options.data / narrowing.FILE).exists():
        narrow += [
            narrowing.retail(options.data, work / "retail", start, options.seed)
            for start in narrowing.STARTS
        ]
    rows += [
        {
            "what": "cuped",
            "name": each.source,
            "users": each.users,
            "rho": each.rho,
            "ratio": each.ratio,
            "expected": each.expected,
            "error": each.error,
        }
        for each in narrow
    ]
    console.print("bytes of an impression")
    forms = compare_forms(work / "impressions", options.seed)
    rows += [_bytes(each) for each in forms]
    console.print("report")
    timed = report_time(work / "report", users, options.seed)
    rows.append(
        {
            "what": "report",
            "events": timed.events,
            "seconds": timed.seconds,
            "cpu_s": timed.cpu_s,
            "peak_bytes": timed.peak_bytes,
        }
    )
    console.print("A/A tests through events")
    share = false_winners.through_events(through_events, options.seed)
    rows.append(
        {"what": "looks", "name": "through events", "tests": through_events, "bounds": share}
    )
    console.print(_table(rows))
    sums = [row for row in rows if row["what"] == "looks" and row["name"] != "through events"]
    figures = {
        "aa_false_winners": sum(float(row["bounds"] or 0) for row in sums) / len(sums),
        "aa_false_winners_events": share,
        "cuped_narrowing_error": max(each.error for each in narrow),
        "report_s_10m_events": timed.seconds,
        "report_cpu_s": timed.cpu_s,
        "report_events": float(timed.events),
        "report_peak_bytes": float(timed.peak_bytes),
        "impression_log_bytes_by_before": max(each.now.log / each.before.log for each in forms),
        "impression_upload_bytes_by_before": max(
            each.now.gzip / each.before.gzip for each in forms
        ),
    }
    return Result(name="experiment", seed=options.seed, rows=rows, figures=figures)


def _bytes(found: Comparison) -> Row:
    before, now = found.before, found.now
    return {
        "what": "impression",
        "name": found.name,
        "log_bytes": now.log,
        "log_bytes_before": before.log,
        "body_bytes": now.body,
        "body_bytes_before": before.body,
        "upload_bytes": now.gzip,
        "upload_bytes_before": before.gzip,
    }


def _looks(tests: int, seed: int) -> list[Row]:
    rows: list[Row] = []
    for at, metric in enumerate(false_winners.NAMES):
        found = false_winners.on_sums(tests // 2, metric, seed + at)
        rows.append(
            {
                "what": "looks",
                "name": metric,
                "tests": found.tests,
                "bounds": found.bounds,
                "naive": found.naive,
                "once": found.once,
            }
        )
    return rows


def _table(rows: list[Row]) -> Table:
    table = Table("measurement", "value", title="experiment", title_justify="left")
    for row in rows:
        if row["what"] == "looks":
            table.add_row(
                f"winners of {row['tests']:,} A/A tests, {row['name']}", f"{row['bounds']:.4f}"
            )
        elif row["what"] == "cuped":
            table.add_row(
                f"{row['name']}: ratio / expected", f"{row['ratio']:.4f} / {row['expected']:.4f}"
            )
        elif row["what"] == "impression":
            table.add_row(
                f"bytes of an impression in the log / before, {row['name']}",
                f"{row['log_bytes']:.0f} / {row['log_bytes_before']:.0f}",
            )
            table.add_row(
                f"bytes of an impression in uploads / before, {row['name']}",
                f"{row['upload_bytes']:.1f} / {row['upload_bytes_before']:.1f}",
            )
        else:
            table.add_row(f"report on {row['events']:,} events", f"{row['seconds']:.1f} s")
    return table
