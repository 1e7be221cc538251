"""Sync on schedule and on hints; for devices that are always on."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import SyncPolicy
from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.client import SyncReport
from pocketrec_edge.sync.wake import after_failure, after_hint


class Listener(Protocol):
    """Yields the ids of hints after `last`, and None for keep-alives; see `hints.py`."""

    def __call__(self, last: str | None, most_s: float) -> Generator[str | None, None, None]:
        """Listen; stop after `most_s` seconds without a line."""
        ...


@dataclass(slots=True, kw_only=True)
class Watch:
    """The sync loop of a device that is always on.

    Attributes:
        sync: runs one sync.
        listen: yields hints.
        known: returns the id of the hint for the metadata that the device has.
        policy: returns the channel's policy of the last sync.
        bucket_id: the device's random bytes.
        tell: called with each report or error.
        clock: returns unix seconds.
        sleep: waits a number of seconds.
        last: id of the last hint; each hint is followed once, even if the sync failed.
        failures: failed syncs in a row.
        unheard: failed attempts to listen, in a row.
    """

    sync: Callable[[], SyncReport]
    listen: Listener
    known: Callable[[], str | None]
    policy: Callable[[], SyncPolicy]
    bucket_id: bytes
    tell: Callable[[SyncReport | PocketRecError], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    last: str | None = None
    failures: int = 0
    unheard: int = 0

    def run(self, done: Callable[[], bool]) -> None:
        """Run until `done` returns True; it is called after each sync."""
        while True:
            due = self._sync()
            if done():
                return
            asked = self.clock()
            while (left := due - self.clock()) > 0 and self.clock() >= asked:  # else set back
                due = min(due, self._heard(left))

    def _sync(self) -> float:
        """Sync once; return when to sync next."""
        try:
            report = self.sync()
        except PocketRecError as err:
            self.tell(err)
            self.failures += 1
            return self.clock() + after_failure(self.failures, self.policy(), self.bucket_id)
        self.tell(report)
        self.failures, self.last = 0, self.last or self.known()
        return report.next_check_utc

    def _heard(self, left_s: float) -> float:
        """Listen until a hint or the time limit; return when to sync."""
        begun = self.clock()
        end = begun + left_s
        try:
            with closing(self.listen(self.last, left_s)) as hints:
                for hint in hints:
                    self.unheard = 0
                    if hint is not None:
                        self.last = hint
                        return self._wait(after_hint(hint, self.policy(), self.bucket_id), end)
                    if not begun <= self.clock() < end:
                        return end
        except SyncError:
            pass  # without hints, sync on schedule
        self.unheard += 1
        self._wait(after_failure(self.unheard, self.policy(), self.bucket_id), end)
        return end

    def _wait(self, seconds: float, end: float) -> float:
        """Sleep, at most until `end`; return the time it ends."""
        until = min(self.clock() + seconds, end)
        self.sleep(max(until - self.clock(), 0.0))
        return until
