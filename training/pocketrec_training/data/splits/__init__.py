"""Splits: whether the held-out events leave cases to choose and report by.

In: a `Dataset`. Out: counts; refusals with the splits that would fit.
Read in this order: cases.py, check.py.
"""
