"""Warm start: train from the previous release.

In: the previous run. Out: initial weights, item vectors in the previous run's space.
Read in this order: start.py, align.py.
"""
