"""Count served bytes by day and kind, and the bytes that deltas saved.

Counts are kept in memory. A thread adds them to the database every few seconds, so no request waits
for it. A killed process loses these seconds. Responses of a CDN in front are not counted.
"""

import atexit
import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.units import DAY_S
from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import SERVED_DAY

METADATA, RELEASE, FULL, DELTA = "metadata", "release", "full", "delta"
"""Signed metadata; manifests, policies and halts; whole files; deltas."""
EVERY_S = 5.0
_LOG = logging.getLogger("pocketrec_server")


@dataclass(slots=True)
class Sum:
    """Sums of one day and kind.

    Attributes:
        requests: number of requests.
        bytes: bytes of the bodies.
        full_bytes: bytes that whole files would have taken; differs from `bytes` for deltas only.
    """

    requests: int = 0
    bytes: int = 0
    full_bytes: int = 0


def kind_of(path: str) -> str:
    """Return the kind of a repository path: METADATA, RELEASE, FULL or DELTA."""
    if path.startswith("/metadata/"):
        return METADATA
    if "/deltas/" in path:
        return DELTA
    return FULL if path.startswith("/targets/files/") else RELEASE


class Traffic:
    """Traffic counters of one process."""

    def __init__(self, repo: Path, engine: Engine) -> None:
        self._files, self._engine = repo / "targets" / "files", engine
        self._lock = threading.Lock()
        self._sums: dict[tuple[int, str], Sum] = defaultdict(Sum)
        self._thread: threading.Thread | None = None

    def count(self, path: str, sent: int, length: int | None) -> None:
        """Count a response.

        Args:
            path: path of the request.
            sent: bytes of the body, which may be a range.
            length: size of the whole file, if known.
        """
        kind = kind_of(path)
        full = sent
        if kind == DELTA and length:
            full = round(sent / length * self._full_bytes(path))
        with self._lock:
            total = self._sums[int(time.time()) // DAY_S, kind]
            total.requests += 1
            total.bytes += sent
            total.full_bytes += full
            if self._thread is None:  # here, not in __init__: a worker forks before it serves
                self._thread = threading.Thread(target=self._store_for_ever, daemon=True)
                self._thread.start()
                atexit.register(self.store)

    def store(self) -> None:
        """Add the counts to the database; if that fails, keep them for the next time."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(Sum)
        if not sums:
            return
        try:
            with writing(self._engine) as connection:
                for (day, kind), total in sums.items():
                    insert = dialect_of(connection).insert(SERVED_DAY)
                    new = insert.excluded
                    added = {
                        name: SERVED_DAY.c[name] + new[name]
                        for name in ("requests", "bytes", "full_bytes")
                    }
                    insert = insert.on_conflict_do_update(
                        index_elements=["day", "kind"], set_=added
                    )
                    connection.execute(
                        insert.values(
                            day=day,
                            kind=kind,
                            requests=total.requests,
                            bytes=total.bytes,
                            full_bytes=total.full_bytes,
                        )
                    )
        except SQLAlchemyError as err:
            _LOG.warning("served bytes were not stored: %s", err)
            with self._lock:
                for key, total in sums.items():
                    kept = self._sums[key]
                    kept.requests += total.requests
                    kept.bytes += total.bytes
                    kept.full_bytes += total.full_bytes

    def _store_for_ever(self) -> None:
        while True:
            time.sleep(EVERY_S)
            self.store()

    def _full_bytes(self, path: str) -> int:
        """Return the size of the file that a delta `<sha256>.<to>.<from>` produces."""
        to = path.rpartition("/")[2].split(".")[1]
        return _size(self._files / f"{to}.{to}")


def by_day(engine: Engine, first_day: int) -> dict[int, dict[str, Sum]]:
    """Return the traffic since a day: day -> kind -> sum."""
    days: dict[int, dict[str, Sum]] = defaultdict(dict)
    with engine.connect() as connection:
        for row in connection.execute(select(SERVED_DAY).where(SERVED_DAY.c.day >= first_day)):
            days[row.day][row.kind] = Sum(row.requests, row.bytes, row.full_bytes)
    return days


@lru_cache(maxsize=1024)
def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
