"""Delete what has outlived its time in the database, once a day, whoever still sends something.

Sums stay until `KEPT_DAYS` after the planned end of their experiment; exposures with their networks
until the experiment or the stage of a rollout has ended.
"""

import logging
import threading
import time
from pathlib import Path

from flask import request
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.units import DAY_S
from pocketrec_server.halting import guard
from pocketrec_server.repository import state
from pocketrec_server.sums import store

RETRY_S = 3600.0
_METRICS = "/metrics"
_LOG = logging.getLogger("pocketrec_server")


class Expired:
    """Deletes at the first upload or scrape of a day, in each process.

    Requests for releases never do it: they must not wait for a locked database.
    """

    def __init__(self, repo: Path, engine: Engine) -> None:
        """Name repository and database; deletes nothing yet."""
        self._repo, self._engine = repo, engine
        self._next, self._lock = 0.0, threading.Lock()

    def attend(self) -> None:
        """Delete if it is time; called before each request. A failure is logged and retried."""
        now = time.time()
        if not (request.method == "POST" or request.path == _METRICS) or not self._is_due(now):
            return
        try:
            store.forget_old(self._engine, now)
            if state.exists(self._repo):
                guard.forget_ended(self._repo, self._engine, int(now))
        except (PocketRecError, SQLAlchemyError) as err:
            _LOG.error("rows that have expired were not deleted: %s", err)
            with self._lock:
                self._next = now + RETRY_S

    def _is_due(self, now: float) -> bool:
        """Return whether it is time; True for one thread a day."""
        with self._lock:
            is_due = now >= self._next or self._next > now + DAY_S
            if is_due:
                self._next = now + DAY_S
            return is_due
