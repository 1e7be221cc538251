"""Tuning: search the settings of a recipe.

In: a recipe and its tables. Out: the best recipe on validation.
Read in this order: tune.py, search_space.py.
"""
