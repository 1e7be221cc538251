"""Halting: stop a release that fails on many devices, and an arm or a release that harms users.

In: outcomes that devices report; events of experiments and of rollouts. Out: signed halts.
Reading order for failures: routes.py, outcomes.py, networks.py, circuit_breaker.py. For arms:
devices.py, sums_devices.py, network_comparison.py, looks.py, guard.py. For releases that are worse
than earlier ones: release_limits.py, release_devices.py, release_guard.py. waiting.py: ramps that
wait.
"""
