"""Rate limit for wrong tokens: after some failures a network has to wait."""

import threading
from collections import OrderedDict, deque

MOST, WITHIN_S = 10, 600
"""Number of failures within a time after which a network has to wait; counted per process."""
_MOST_NETWORKS = 4096


class Failures:
    """Failed attempts by network, in memory only; the oldest networks are dropped."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, network: str, now: float) -> int:
        """Return the seconds until a network can try again; 0: now."""
        with self._lock:
            times = self._times.get(network)
            if times is None or len(times) < MOST:
                return 0
            return max(0, int(times[0] + WITHIN_S - now + 1))

    def note(self, network: str, now: float) -> None:
        """Record a failure."""
        with self._lock:
            times = self._times.setdefault(network, deque(maxlen=MOST))
            while times and times[0] <= now - WITHIN_S:
                times.popleft()
            times.append(now)
            self._times.move_to_end(network)
            if len(self._times) > _MOST_NETWORKS:
                self._times.popitem(last=False)
