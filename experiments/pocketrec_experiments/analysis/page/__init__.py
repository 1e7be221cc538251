"""The report as one HTML page: no network, no script.

In: an `ExperimentReport`. Out: the text of the page. Read in this order: page.py, pictures.py,
tables.py; charts.py and axes.py draw inline SVG.
"""

from pocketrec_experiments.analysis.page.page import render

__all__ = ["render"]
