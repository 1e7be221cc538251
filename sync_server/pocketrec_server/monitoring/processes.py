"""CPU, memory and files of each worker, and the version of the server.

Workers find each other through locked files in the folder of the shared metrics: each worker holds
the lock of the first free number. The kernel frees the lock of a worker that ends, so its successor
takes the same number, and the label `worker` has as many values as there are workers.
"""

import os
import platform
import threading
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_server.process import METRICS_FOLDER

MOST_WORKERS = 256
_WAIT_S = 1.0
_LABELS = ["worker"]


class Processes(Collector):
    """Process metrics of all workers, by worker; empty where there is no /proc."""

    def __init__(self) -> None:
        self._number = _Number()

    def attend(self) -> None:
        """Take a number for this process if it has none, also after a fork. Cheap afterwards."""
        self._number.take()

    def collect(self) -> Iterable[Metric]:
        """Read /proc of each running worker."""
        self.attend()
        families: dict[str, Metric] = {}
        for number, pid in workers():
            for family in _families_of(pid):
                if family.name not in families:
                    is_counter = family.type == "counter"
                    kind = CounterMetricFamily if is_counter else GaugeMetricFamily
                    families[family.name] = kind(family.name, family.documentation, labels=_LABELS)
                for sample in family.samples:
                    families[family.name].add_sample(
                        sample.name, {"worker": str(number)}, sample.value
                    )
        yield from families.values()


class Build(Collector):
    """Version of the server, as labels."""

    def collect(self) -> Iterable[Metric]:
        """Return one gauge, which is always 1."""
        info = GaugeMetricFamily(
            "pocketrec_build_info",
            "Versions of the server and of Python; always 1.",
            labels=["version", "python"],
        )
        info.add_metric([version("pocketrec"), platform.python_version()], 1)
        yield info


class _Number:
    """The number of this process among the workers, held by a file lock until it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._held: LockedFile | None = None

    def take(self) -> None:
        """Lock the first free number; does nothing if this process has one, or is alone."""
        folder = os.environ.get(METRICS_FOLDER)
        if folder is None or self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                with LockedFile(_guard(folder), wait_s=_WAIT_S):
                    self._held = _first_free(folder)
                self._pid = os.getpid()


def _families_of(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def workers() -> Iterator[tuple[int, int]]:
    """Yield number and process id of each running worker; a process alone has number 0."""
    folder = os.environ.get(METRICS_FOLDER)
    if folder is None:
        yield 0, os.getpid()
        return
    with LockedFile(_guard(folder), wait_s=_WAIT_S):  # a probe must not take a free number
        for number in range(MOST_WORKERS):
            path = _path(folder, number)
            if not path.exists():
                break
            if _is_held(path) and (content := path.read_bytes()).isdigit():
                yield number, int(content)


def _first_free(folder: str) -> LockedFile | None:
    for number in range(MOST_WORKERS):
        try:
            held = LockedFile(_path(folder, number))
        except BlockingIOError:
            continue
        held.truncate(0)
        held.write(str(os.getpid()).encode())
        return held
    return None


def _is_held(path: Path) -> bool:
    try:
        LockedFile(path).close()
    except BlockingIOError:
        return True
    return False


def _guard(folder: str) -> Path:
    return Path(folder) / "workers.lock"


def _path(folder: str, number: int) -> Path:
    return Path(folder) / f"worker-{number}.lock"
