"""How releases do in the field, from exported events: adoption, slates, calibration, drift.

In: a folder of `pocketrec events export`, and a bundle with its model card. Out: a report.
Read in this order: report.py has the steps. distance.py (PSI, Jensen-Shannon; numpy only),
windowed.py (events of the window), releases.py, adoption.py, clicks.py, calibration.py, drift.py;
terminal.py, page.py and prometheus.py write the report.
"""

from pocketrec_experiments.monitoring.distance import jensen_shannon, psi
from pocketrec_experiments.monitoring.drift import Drift
from pocketrec_experiments.monitoring.report import MonitorReport, Settings, monitor_report

__all__ = [
    "Drift",
    "MonitorReport",
    "Settings",
    "jensen_shannon",
    "monitor_report",
    "psi",
]
