"""Halting: stop a release that fails on many devices, and an arm that harms its users.

In: outcomes that devices report; events of experiments. Out: signed halts.
Reading order for releases: routes.py, outcomes.py, networks.py, circuit_breaker.py. For arms:
devices.py, network_comparison.py, looks.py, guard.py.
"""
