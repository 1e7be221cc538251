"""Features: the spec that phones follow, and the features of past events (`pocketrec features`).

In: a `Dataset`. Out: a `FeatureSpec`, columns of items, and a store of features as phones had them.
Read in this order: columns.py, point_in_time.py, offline.py.
"""
