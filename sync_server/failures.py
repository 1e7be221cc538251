"""Slow down who guesses tokens: after some failures an address has to wait."""

import threading
from collections import OrderedDict, deque

MOST, WITHIN_S = 10, 600
"""Failures that an address has within a time before it must wait; each process counts its own."""
_MOST_ADDRESSES = 4096


class Failures:
    """Failed attempts by address, in memory only; the oldest addresses are forgotten."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, now: float) -> int:
        """Seconds until an address may try again; 0: now."""
        with self._lock:
            times = self._times.get(address)
            if times is None or len(times) < MOST:
                return 0
            return max(0, int(times[0] + WITHIN_S - now + 1))

    def note(self, address: str, now: float) -> None:
        """Note one more failure."""
        with self._lock:
            times = self._times.setdefault(address, deque(maxlen=MOST))
            while times and times[0] <= now - WITHIN_S:
                times.popleft()
            times.append(now)
            self._times.move_to_end(address)
            if len(self._times) > _MOST_ADDRESSES:
                self._times.popitem(last=False)
