"""Run the app in several processes behind one port: a waitress each, on one listening socket.

Each worker counts for itself in a folder of files, so that `/metrics` of any is that of all.
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
"""Before a worker that could not start is replaced, such as while the database is locked."""
_KILL_S = GRACE_S + 5
_LOG = logging.getLogger(__name__)
_ENDING = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings, listener: socket, ready: Callable[[], None], workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is called once each worker answers.

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
        # Once, before workers that start together would all make and upgrade it.
        open_database(settings.database_url or default_url(settings.repo)).dispose()
        _Crew(settings, listener, workers).run(ready)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Crew:
    """The workers, each started again if it ends before it should.

    This process stays free of threads, so that it may fork at any time.
    """

    def __init__(self, settings: Settings, listener: socket, workers: int) -> None:
        self._settings, self._listener, self._number = settings, listener, workers
        self._running: dict[ForkProcess, Event] = {}
        self._stopping, self._own = False, os.getpid()

    def run(self, ready: Callable[[], None]) -> None:
        """Start all, replace those that end, and end with them."""
        for number in _ENDING:
            signal.signal(number, self._stop)
        is_ready = False
        while not self._stopping:
            while len(self._running) < self._number:
                self._start()
            if not is_ready and all(each.is_set() for each in self._running.values()):
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
        # A signal that comes between the fork and the worker's own handlers waits for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _ended(self) -> list[tuple[ForkProcess, bool]]:
        wait([each.sentinel for each in self._running], _TURN_S)
        ended = [each for each in self._running if not each.is_alive()]
        found = [(each, self._running.pop(each).is_set()) for each in ended]
        for process, _ in found:
            _forget(process)
        return found

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _finish(self) -> None:
        """Close the port and wait until all workers have sent what they are sending."""
        self._listener.close()
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(_KILL_S)
            if process.is_alive():
                process.kill()
                process.join()


def _work(settings: Settings, listener: socket, ready: Callable[[], None], parent: int) -> None:
    """Be a worker, until a signal or the end of the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends all
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    from pocketrec_server import waitress_server  # counts go to files only if first imported here

    waitress_server.run(settings, listener, ready, lambda: os.getppid() != parent)


def _forget(process: ForkProcess) -> None:
    """Drop the gauges of a worker that ended, such as its listeners; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead  # late: see METRICS_FOLDER

    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
