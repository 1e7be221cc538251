"""Recommend: one request becomes a slate.

In: a history and a release. Out: a slate with reasons and timings.
Read in this order: pipeline.py, filters.py, index.py, rules/, slate.py, fallback.py, explain.py.
"""
