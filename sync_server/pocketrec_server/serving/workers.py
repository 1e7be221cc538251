"""Run the app in several processes on one port: one waitress each, on a shared socket.

Each worker keeps its metrics in a file of a shared folder, so `/metrics` of any worker covers all.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Event
from socket import socket
from types import FrameType

from pocketrec_server.errors import ServeFailedError
from pocketrec_server.http.json_lines import to_json_lines
from pocketrec_server.process import GRACE_S, METRICS_FOLDER
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database

_TURN_S = 0.1
_PAUSE_S = 1.0
"""Pause before replacing a worker that could not start, e.g. while the database is locked."""
_KILL_S = GRACE_S + 5
_LOG = logging.getLogger(__name__)
_ENDING = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings, listener: socket, ready: Callable[[], None], workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C; call `ready` once all workers are ready.

    Raises:
        ServeFailedError: a worker could not start, or this system cannot fork.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ServeFailedError(
            "--workers: this system cannot fork. Use one process, or a container."
        )
    folder = tempfile.mkdtemp(prefix="pocketrec-metrics-")
    os.environ[METRICS_FOLDER] = folder  # before anything imports prometheus_client
    to_json_lines(_LOG)
    settings.repo.mkdir(parents=True, exist_ok=True)
    try:
        # Create and upgrade the database once, before the workers start together.
        open_database(settings.database_url or default_url(settings.repo)).dispose()
        _Crew(settings, listener, workers).run(ready)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Crew:
    """The workers. A worker that ends unexpectedly is replaced.

    This process has no other threads, so it can fork at any time.
    """

    def __init__(self, settings: Settings, listener: socket, workers: int) -> None:
        self._settings, self._listener, self._number = settings, listener, workers
        self._running: dict[ForkProcess, Event] = {}
        self._stopping, self._own = False, os.getpid()

    def run(self, ready: Callable[[], None]) -> None:
        """Start all workers, replace those that end, and stop them at the end."""
        for number in _ENDING:
            signal.signal(number, self._stop)
        is_ready = False
        while not self._stopping:
            while len(self._running) < self._number:
                self._start()
            if not is_ready and all(process.is_set() for process in self._running.values()):
                is_ready = True
                ready()
            for process, started in self._ended():
                if not is_ready and not self._stopping:
                    self._finish()
                    raise ServeFailedError(
                        f"worker {process.pid} could not start; see its error above."
                    )
                if not self._stopping:
                    _LOG.warning("worker ended with %s and is replaced", process.exitcode)
                    time.sleep(0 if started else _PAUSE_S)
        self._finish()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        started = context.Event()
        words = (self._settings, self._listener, started.set, self._own)
        process = context.Process(target=_work, args=words)
        self._running[process] = started
        # Block signals until the worker has set its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _ended(self) -> list[tuple[ForkProcess, bool]]:
        wait([process.sentinel for process in self._running], _TURN_S)
        ended = [process for process in self._running if not process.is_alive()]
        ended_workers = [(process, self._running.pop(process).is_set()) for process in ended]
        for process, _ in ended_workers:
            _forget(process)
        return ended_workers

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _finish(self) -> None:
        """Close the port, and wait until all workers have sent their responses."""
        self._listener.close()
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(_KILL_S)
            if process.is_alive():
                process.kill()
                process.join()


def _work(settings: Settings, listener: socket, ready: Callable[[], None], parent: int) -> None:
    """Run a worker until a signal or the end of the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops all
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    from pocketrec_server.serving import (
        waitress_server,  # imported here, after METRICS_FOLDER was set
    )

    waitress_server.run(settings, listener, ready, lambda: os.getppid() != parent)


def _forget(process: ForkProcess) -> None:
    """Remove the gauges of a worker that ended, e.g. its listeners; its counters are kept."""
    from prometheus_client.multiprocess import mark_process_dead  # late: see METRICS_FOLDER

    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
