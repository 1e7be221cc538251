"""Metrics of the database: size, installs, traffic, and the time of the last backup.

Counters are read at each scrape, without a cache: two workers with caches of different age would
let a counter fall, and Prometheus takes that for a restart.
"""

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, case, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.backup_time import last_backup
from pocketrec_server.storage.tables import INSTALL, SERVED_DAY

INSTALLS_S = 60.0
"""Time for which a count of the installs is kept; it reads the whole table."""
_LOG_FILES = ("", "-wal")


class Stored(Collector):
    """Figures of the database of one server."""

    def __init__(self, repo: Path, engine: Engine) -> None:
        self._repo, self._engine = repo, engine
        self._lock = threading.Lock()
        self._counted_at, self._installs = -INSTALLS_S, (0, 0, 0)

    def collect(self) -> Iterable[Metric]:
        """Read the figures; without the database only `pocketrec_database_up` and the disk."""
        free = GaugeMetricFamily(
            "pocketrec_disk_free_bytes", "Free bytes on the disk of the repository."
        )
        free.add_metric([], shutil.disk_usage(self._repo).free)
        yield free
        up = GaugeMetricFamily("pocketrec_database_up", "1 if the database answers.")
        try:
            with self._engine.connect() as connection:
                found = [*self._of_database(connection)]
            up.add_metric([], 1)
        except SQLAlchemyError:
            found = []
            up.add_metric([], 0)
        yield up
        yield from found

    def _of_database(self, connection: Connection) -> Iterator[Metric]:
        size = GaugeMetricFamily(
            "pocketrec_database_bytes", "Size of the database, of SQLite with its log."
        )
        size.add_metric([], self._bytes(connection))
        backup = GaugeMetricFamily(
            "pocketrec_backup_timestamp_seconds", "Time of the last backup; 0 before the first."
        )
        backup.add_metric([], last_backup(connection))
        yield from (size, backup)
        ever, week, last = self._install_counts(connection)
        installs = GaugeMetricFamily(
            "pocketrec_installs", "Installs that have sent an upload, by when.", labels=["seen"]
        )
        installs.add_metric(["ever"], ever)
        installs.add_metric(["week"], week)
        upload = GaugeMetricFamily(
            "pocketrec_last_upload_timestamp_seconds",
            "Time of the last upload of events; 0 before the first.",
        )
        upload.add_metric([], last)
        yield from (installs, upload)
        yield from _traffic(connection)

    def _bytes(self, connection: Connection) -> float:
        if connection.dialect.name == "postgresql":
            query = text("SELECT pg_database_size(current_database())")
            return float(connection.scalar(query) or 0)
        path = self._engine.url.database or ""
        sizes = []
        for ending in _LOG_FILES:
            try:
                sizes.append(Path(path + ending).stat().st_size)
            except OSError:  # the log is missing while nobody writes
                continue
        return float(sum(sizes))

    def _install_counts(self, connection: Connection) -> tuple[int, int, int]:
        """Return installs ever, installs of the last week, time of the last upload."""
        with self._lock:
            if time.monotonic() - self._counted_at >= INSTALLS_S:
                week_ago = int(time.time()) - 7 * DAY_S
                last = INSTALL.c.last_utc
                query = select(
                    func.count(), func.sum(case((last > week_ago, 1), else_=0)), func.max(last)
                ).select_from(INSTALL)
                row = connection.execute(query).one()
                self._installs = int(row[0]), int(row[1] or 0), int(row[2] or 0)
                self._counted_at = time.monotonic()
            return self._installs


def _traffic(connection: Connection) -> Iterator[Metric]:
    names = ("requests", "bytes", "full_bytes")
    query = select(
        SERVED_DAY.c.kind, *(func.sum(SERVED_DAY.c[name]).label(name) for name in names)
    ).group_by(SERVED_DAY.c.kind)
    texts = (
        "Requests for repository files, by kind.",
        "Bytes sent of repository files, by kind.",
        "Bytes that whole files would have taken, by kind.",
    )
    families = [
        CounterMetricFamily(f"pocketrec_served_{name}", text_, labels=["kind"])
        for name, text_ in zip(names, texts, strict=True)
    ]
    for kind, *sums in connection.execute(query.order_by(SERVED_DAY.c.kind)):
        for family, value in zip(families, sums, strict=True):
            family.add_metric([kind], float(value))
    yield from families
