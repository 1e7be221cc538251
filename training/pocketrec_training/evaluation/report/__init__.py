"""The evaluation as one HTML page that needs nothing beside it.

In: what `evaluation.json` holds, and that of a previous evaluation. Out: the text of the page.
Read in this order: page.py, verdict.py, pictures.py, plots.py, tables.py.
Rule: every text of the data is escaped; the page loads nothing and runs one script, which sorts.
"""

from pocketrec_training.evaluation.report.page import render

__all__ = ["render"]
