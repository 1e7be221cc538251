"""Run the app by gunicorn: several worker processes behind one port.

Each worker counts for itself in a folder of files, so that `/metrics` of any is that of all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from socket import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from sync_server.database import default_url, open_database
from sync_server.json_lines import to_json_lines
from sync_server.serve import GRACE_S, THREADS
from sync_server.settings import HINTS, METRICS_FOLDER, MOST_LISTENERS, Settings


class JsonLogger(Logger):
    """Lets gunicorn's own messages join the others as JSON lines."""

    def setup(self, cfg: Any) -> None:
        """Set up as gunicorn does, then write in our form."""
        super().setup(cfg)
        to_json_lines(self.error_log)


class Workers(BaseApplication):
    """Gunicorn with options from here and none from files or the environment."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings, self._options = settings, options
        super().__init__()

    def load_config(self) -> None:
        """Take the options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the app, in each worker anew, so that no two share a connection."""
        from sync_server.app import create_app  # counts go to files only if first imported here

        return create_app(self._settings)


def run(settings: Settings, listener: socket, ready: Callable[[], None], workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is called once the port is served."""
    folder, own = tempfile.mkdtemp(prefix="pocketrec-metrics-"), os.getpid()
    os.environ[METRICS_FOLDER] = folder
    settings.repo.mkdir(parents=True, exist_ok=True)
    try:
        # Once, before workers that start together would all make and upgrade it.
        open_database(settings.database_url or default_url(settings.repo)).dispose()
        options = {
            "bind": f"fd://{listener.detach()}",
            "workers": workers,
            "threads": THREADS + MOST_LISTENERS,
            "worker_class": "gthread",
            "graceful_timeout": GRACE_S,
            "keepalive": 30,
            "logger_class": JsonLogger,
            "control_socket_disable": True,
            "when_ready": lambda _arbiter: ready(),
            "child_exit": lambda _arbiter, worker: _forget(worker.pid),
            "post_worker_init": _end_streams,
        }
        Workers(settings, options).run()
    finally:
        if os.getpid() == own:  # a worker that ends comes by here too, and the others count on
            shutil.rmtree(folder, ignore_errors=True)


def _end_streams(worker: Any) -> None:
    """Let those that listen for hints go as soon as their worker is to end."""
    worker.wsgi.extensions[HINTS].is_stopping = lambda: not worker.alive


def _forget(pid: int) -> None:
    """A worker that ended has no listeners any more; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # late: see METRICS_FOLDER

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
