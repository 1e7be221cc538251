"""Statistics of experiments from sums, with numpy and the standard library.

In: sums over the users of each arm. Out: effects with intervals, and sequential bounds.
Rule of the folder: no table and no file is read here, so the server computes the same figures.
"""
