"""The page of the field report: verdicts, pictures, tables, notes.

In: a `MonitorReport`. Out: one HTML file. verdicts.py, pictures.py and bars.py prepare the parts,
page.py fills the template. The style is that of the report of an experiment.
"""

from pocketrec_experiments.monitoring.page.page import page
from pocketrec_experiments.monitoring.page.verdicts import verdict

__all__ = ["page", "verdict"]
