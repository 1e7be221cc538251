"""Metrics: pure measures, used by baselines, ranker and evaluation.

In: scores, held-out cases. Out: numbers per case.
Read in this order: cases.py, ranks.py, ranking.py, classification.py, beyond_accuracy.py,
segments.py, then significance.py and case_file.py.
"""
