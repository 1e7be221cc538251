"""Sync whenever the policy or a hint says so, and wait in between; for devices that stay on."""

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
    """Yields ids of hints that came after `last`, and None now and then; see `sync_hints`."""

    def __call__(self, last: str | None, most_s: float) -> Generator[str | None, None, None]:
        """Listen for at most so long without a word."""
        ...


@dataclass(slots=True, kw_only=True)
class Watch:
    """A device that stays on.

    Attributes:
        sync: syncs once.
        listen: for hints.
        known: returns the id of a hint that would say no more than what this device knows.
        policy: the channel's, as it was last.
        bucket_id: of the device.
        tell: called with each report, and each error.
        clock: unix seconds.
        sleep: waits so many seconds.
        last: id of the last hint that was heard: none is followed twice, whatever came of it.
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
        """Go on until `done`, which is asked after each sync."""
        while True:
            due = self._sync()
            if done():
                return
            asked = self.clock()
            while (left := due - self.clock()) > 0 and self.clock() >= asked:  # else set back
                due = min(due, self._heard(left))

    def _sync(self) -> float:
        """Sync; returns when to do so again."""
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
        """Listen until there is a hint or the time is over; returns when to sync for it."""
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
            pass  # a server without hints is asked when the policy says
        self.unheard += 1
        self._wait(after_failure(self.unheard, self.policy(), self.bucket_id), end)
        return end

    def _wait(self, seconds: float, end: float) -> float:
        """Wait, but not beyond an end; returns until when."""
        until = min(self.clock() + seconds, end)
        self.sleep(max(until - self.clock(), 0.0))
        return until
