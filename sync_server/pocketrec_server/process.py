"""Constants of one server process that several files share."""

THREADS = 8
"""Of each process."""
GRACE_S = 30
"""How long what is being sent may take after SIGTERM."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which workers find where they count together; the name is Prometheus'."""

MOST_LISTENERS = 32
"""Devices that may listen for hints, of a process, which has so many threads more."""
MOST_OF_NETWORK = 8
"""Of these, devices of one network (IPv4 /24, IPv6 /48)."""
HINTS = "pocketrec-hints"
"""Under which name an app keeps them among its extensions."""
