"""Halting: stop a release that fails on many devices.

In: outcomes that devices report. Out: a signed halt.
Reading order: routes.py, outcomes.py, networks.py, circuit_breaker.py.
"""
