"""What Prometheus can read of a server, and the dashboard and alerts that use it.

In: the repository, the database, the processes of the server. Out: metrics at /metrics.
Read in this order: fleet.py (releases and outcomes), experiments.py, slates.py (slates that devices
report), stored.py (database, backups, traffic), processes.py (CPU and memory of each worker),
files.py (dashboard and alert rules in assets/). Rule of the folder: each label has a bounded number
of values, whatever devices send. docs/server/monitoring.md lists every metric.
"""
