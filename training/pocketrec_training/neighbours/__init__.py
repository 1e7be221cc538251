"""Item neighbours: linear item models, cut to a few weights an item.

In: the training fold. Out: the neighbours that ship.
Read in this order: fit.py, then choose.py, which picks the kind on validation cases.
"""
