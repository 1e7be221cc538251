"""Evaluation: reports over metrics.

In: a run folder and its tables. Out: `evaluation.json`, an HTML page, `cases.npz`.
Read in this order: evaluate.py, result.py, question.py, selection.py, answers.py, methods.py,
retrieval.py, value_ndcg.py, validation_lists.py, ranking.py, value_heads.py, importance.py,
baseline_gain.py, quality.py, compare.py, examples.py, report/.
"""
