"""Bytes served by day and kind, and what whole files in the place of deltas would have taken.

Counted in memory and added to the database every few seconds by a thread, so that no request waits
for it; a killed process loses these seconds. What a CDN in front answers by itself is not seen.
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
    """Of one day and kind; full_bytes are `bytes` but for deltas."""

    requests: int = 0
    bytes: int = 0
    full_bytes: int = 0


def kind_of(path: str) -> str:
    """What a path of the repository is."""
    if path.startswith("/metadata/"):
        return METADATA
    if "/deltas/" in path:
        return DELTA
    return FULL if path.startswith("/targets/files/") else RELEASE


class Traffic:
    """The count of one process."""

    def __init__(self, repo: Path, engine: Engine) -> None:
        self._files, self._engine = repo / "targets" / "files", engine
        self._lock = threading.Lock()
        self._sums: dict[tuple[int, str], Sum] = defaultdict(Sum)
        self._thread: threading.Thread | None = None

    def count(self, path: str, sent: int, length: int | None) -> None:
        """Count an answer.

        Args:
            path: asked for.
            sent: bytes of its body, which may be a part.
            length: of all that it is a part of, where that is known.
        """
        kind = kind_of(path)
        full = sent
        if kind == DELTA and length:
            full = round(sent / length * self._full_bytes(path))
        with self._lock:
            found = self._sums[int(time.time()) // DAY_S, kind]
            found.requests += 1
            found.bytes += sent
            found.full_bytes += full
            if self._thread is None:  # here, not in __init__: a worker forks before it serves
                self._thread = threading.Thread(target=self._store_for_ever, daemon=True)
                self._thread.start()
                atexit.register(self.store)

    def store(self) -> None:
        """Add what was counted to the database, or keep it for the next time."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(Sum)
        if not sums:
            return
        try:
            with writing(self._engine) as connection:
                for (day, kind), found in sums.items():
                    made = dialect_of(connection).insert(SERVED_DAY)
                    new = made.excluded
                    added = {
                        name: SERVED_DAY.c[name] + new[name]
                        for name in ("requests", "bytes", "full_bytes")
                    }
                    made = made.on_conflict_do_update(index_elements=["day", "kind"], set_=added)
                    connection.execute(
                        made.values(
                            day=day,
                            kind=kind,
                            requests=found.requests,
                            bytes=found.bytes,
                            full_bytes=found.full_bytes,
                        )
                    )
        except SQLAlchemyError as err:
            _LOG.warning("served bytes were not stored: %s", err)
            with self._lock:
                for key, found in sums.items():
                    kept = self._sums[key]
                    kept.requests += found.requests
                    kept.bytes += found.bytes
                    kept.full_bytes += found.full_bytes

    def _store_for_ever(self) -> None:
        while True:
            time.sleep(EVERY_S)
            self.store()

    def _full_bytes(self, path: str) -> int:
        """Size of the file that a delta `<sha256>.<to>.<from>` gives."""
        to = path.rpartition("/")[2].split(".")[1]
        return _size(self._files / f"{to}.{to}")


def by_day(engine: Engine, first_day: int) -> dict[int, dict[str, Sum]]:
    """What was served from a day on: day -> kind -> sum."""
    found: dict[int, dict[str, Sum]] = defaultdict(dict)
    with engine.connect() as connection:
        for row in connection.execute(select(SERVED_DAY).where(SERVED_DAY.c.day >= first_day)):
            found[row.day][row.kind] = Sum(row.requests, row.bytes, row.full_bytes)
    return found


@lru_cache(maxsize=1024)
def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
