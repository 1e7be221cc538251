"""Evaluation: reports over metrics.

In: a run folder and its tables. Out: `evaluation.json`, an HTML page, `cases.npz`.
Read in this order: evaluate.py, result.py, methods.py, baseline_gain.py, compare.py, importance.py,
report.py.
"""
