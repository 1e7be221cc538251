"""What needs a person: the attention line of each page, which notifications send too.

In: the repository and the database. Out: entries, notices, and the warning of expiring metadata.
Reading order: figures.py (also for the page of experiments), experiments.py, line.py.
"""

from pocketrec_server.admin.attention.line import (
    COMMAND,
    FEWEST_TOLD,
    MOST,
    banner,
    entries,
    notices,
)

__all__ = ["COMMAND", "FEWEST_TOLD", "MOST", "banner", "entries", "notices"]
