"""How much memory this process has in use, as the system counts it: pages that are resident.

Linux reports it in `/proc/self/status`; macOS reports the peak only; on Windows both are 0.
"""

import sys
from importlib import import_module
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Return the resident memory of this process, else its peak, else 0."""
    return _of_status("VmRSS") or _peak_of_usage()


def peak_bytes() -> int:
    """Return the most that was resident since this program was started, else 0."""
    return _of_status("VmHWM") or _peak_of_usage()  # ru_maxrss remembers the parent's, too


def _of_status(name: str) -> int:
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak_of_usage() -> int:
    try:
        resource = import_module("resource")
    except ImportError:
        return 0
    found = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return found if sys.platform == "darwin" else found * 1024
