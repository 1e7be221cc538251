"""Ranker: the second stage.

In: trained towers, validation events. Out: a calibrated DCN-v2 ranker.
Read in this order: model.py, candidate_lists.py (what it learns from), fit.py with epochs.py and
losses.py, calibration.py, leakage.py, cross_fit.py and gain.py (does it help?), baselines.py.
"""
