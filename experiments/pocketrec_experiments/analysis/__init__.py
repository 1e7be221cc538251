"""From exported events to the report of an experiment (Ibis on DuckDB, tea-tasting).

In: a folder of `pocketrec events export` and the signed experiments. Out: a report.
sums_report.py (with sums_file.py) makes it from `pocketrec events export-sums` instead.
Read in this order: report.py has the steps. tables.py, population.py and totals.py (with bots.py),
activity.py (with attribution.py, currency.py) prepare tables; daily.py sums them up by day.
compare/ tests the arms, arms.py describes them; verdict.py and notes.py write the words; page/ and
terminal.py show them. baseline.py plans an experiment from past events.
"""

from pocketrec_experiments.analysis.design import Design, Guard
from pocketrec_experiments.analysis.report import Comparison, ExperimentReport, experiment_report
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.sums_report import sums_report
from pocketrec_experiments.analysis.verdict import Verdict

__all__ = [
    "Comparison",
    "Design",
    "ExperimentReport",
    "Guard",
    "Settings",
    "Verdict",
    "experiment_report",
    "sums_report",
]
