"""Milliseconds of each stage of one request."""

import time


class StageClock:
    """Runs from its making; each mark ends a stage."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._ms: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """End a stage, which began at the mark before."""
        now = time.perf_counter()
        self._ms[stage] = (now - self._last) * 1000
        self._last = now

    def since_mark(self) -> float:
        """Return the milliseconds of the stage that runs."""
        return (time.perf_counter() - self._last) * 1000

    def elapsed(self) -> float:
        """Return the milliseconds of all so far."""
        return (time.perf_counter() - self._start) * 1000

    def total(self) -> dict[str, float]:
        """Return the milliseconds of every stage, and the total."""
        return {**self._ms, "total": self.elapsed()}
