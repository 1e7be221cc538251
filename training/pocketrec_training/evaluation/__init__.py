"""Evaluation: reports over metrics.

In: a run folder and its tables. Out: `evaluation.json`, an HTML page, `cases.npz`.
Read in this order: evaluate.py, result.py, question.py, selection.py, answers.py, methods.py,
retrieval.py, ranking.py, baseline_gain.py, compare.py, importance.py, examples.py, report/.
"""
