"""Constants of one server process that several files share."""

THREADS = 8
"""Request threads of a process."""
GRACE_S = 30
"""Maximum time after SIGTERM for responses that are being sent."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder of the workers' shared metrics; Prometheus sets its name."""

MOST_LISTENERS = 32
"""Maximum number of devices that listen for hints in a process; each needs one more thread."""
MOST_OF_NETWORK = 8
"""Maximum number of these devices in one network (IPv4 /24, IPv6 /48)."""
HINTS = "pocketrec-hints"
"""Key of the hints in the app's extensions."""
