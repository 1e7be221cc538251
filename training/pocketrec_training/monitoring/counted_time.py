"""Count the time against a cap (`retrieval.minutes`, `ranker.minutes`) and plan the epochs.

Set-up and compilation do not count. On a busy machine they take longer than an epoch, so a plan
that included them would stop a training too early.
"""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Literal

Clock = Callable[[], float]
"""Seconds from any start, as `time.monotonic`."""

StoppedBy = Literal["epochs", "patience", "minutes"]
"""Why a stage ended: all epochs ran, no better epoch came for a while, or its cap cut it."""


class CountedTime:
    """Seconds of a stage that count against its cap.

    Attributes:
        seconds: counted so far, those of an interrupted try included.
    """

    def __init__(self, minutes: float, seconds: float = 0.0, clock: Clock = time.monotonic) -> None:
        """Begin to count.

        Args:
            minutes: the cap; 0 = none.
            seconds: counted by an earlier try.
            clock: read before and after what counts.
        """
        self.seconds = seconds
        self._minutes, self._clock = minutes, clock
        self._compiled: set[Hashable] = set()

    @contextmanager
    def counting(self, shape: Hashable = None) -> Iterator[None]:
        """Count the block, unless it is the first of its `shape`: that one compiles.

        shape: whatever makes the step compile again if it changes; None for what never compiles.
        """
        compiles = shape is not None and shape not in self._compiled
        began = self._clock()
        yield
        if not compiles:
            self.seconds += self._clock() - began
        self._compiled.add(shape)

    def planned(self, epochs: int, done: int) -> int:
        """Return how many of the `epochs` fit into the cap, from the mean of the `done` ones.

        At least those done, and at least one. Without a cap it is all of them.
        """
        if not self._minutes or not done or not self.seconds:
            return epochs
        left = self._minutes * 60 / self.seconds - 1.0
        return min(epochs, done + max(0, int(left * done)))
