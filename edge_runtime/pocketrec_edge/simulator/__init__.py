"""The simulator: a fleet of phones on one machine, each with the real runtime.

In: device classes, a release or a server. Out: figures for each class of phones.
Real: `Device`, its SQLite log, its store, golden vectors and, with a server, the sync client.
Simulated: time, users, networks and batteries. Read in this order: device_profiles.py (its
table is device_profiles.toml), user_model.py, plan.py, session_result.py, loopback_networks.py,
device_session.py (one phone), child.py, fleet.py (a process a class), report.py, arm_truth.py.
"""
