"""Delivery: GET requests of devices.

In: a repository. Out: metadata, files, hints, health.
Reading order: files.py, not_modified.py (most requests), hints.py, traffic.py, health.py.
"""
