"""Sums of experiments: store the newest of each device, and release figures of many devices.

In: bodies of `pocketrec_bundle.settings.experiment_sums`. Out: releases, JSON files for the report.
Reading order: routes.py, known.py, store.py, histogram.py, release.py, export.py.
"""
