"""Cold start: vectors of items that have no interactions.

In: content of items and a trained run. Out: a float32 [n, d] matrix of item vectors.
Read in this order: `neighbours/content_features.py`, neighbour_average.py, arrival_rates.py,
content_vectors.py, which adds these parts, and score_calibration.py, which scales the scores of new
items.
"""
