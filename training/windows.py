"""Training windows: stretches of users' histories, cut anew each epoch and batched by length.

Windows of like length share a batch, so that little of it is padding; every batch of a length has
one shape, so that XLA compiles a handful of graphs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.dataset import TRAIN, Dataset

ONE_LENGTH_UP_TO = 64
"""Histories this short have one batch length: more graphs would cost more than padding does."""

N_LENGTHS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Left-aligned events of n windows, zero after the end; all [n, L].

    rows: int32 item rows; events: int32 event code + 1; ages_s: float32, seconds before the
    window's end; real: float32, 1 where there is an event. As targets of training: asked: int32,
    how many events of the window came before the moment at which the event is predicted; weights:
    float32, all events of one basket together weigh as much as one event alone.
    """

    rows: NDArray[np.int32]
    events: NDArray[np.int32]
    ages_s: NDArray[np.float32]
    real: NDArray[np.float32]
    asked: NDArray[np.int32]
    weights: NDArray[np.float32]


def gather_windows(
    data: Dataset,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    length: int,
    now_utc: NDArray[np.int64] | None = None,
    firsts: NDArray[np.int64] | None = None,
) -> Windows:
    """Read positions starts[i]:stops[i] of the data set as windows of `length` events.

    Args:
        data: whose positions count over all users.
        starts: int64 [n].
        stops: int64 [n], at most `length` after their start; an equal stop gives an empty window.
        length: L.
        now_utc: int64 [n], the moment that ages count from; None for the window's last event.
        firsts: `basket_firsts` of the data, where events of one moment are one basket; None where
            each event is predicted from all before it.
    """
    places = starts[:, None] + np.arange(length)
    real = places < stops[:, None]
    places = np.where(real, places, 0)
    last = data.ts[np.maximum(stops - 1, 0)] if now_utc is None else now_utc
    ages = np.maximum(last[:, None] - data.ts[places], 0)
    weights = real.astype(np.float32)
    asked = np.broadcast_to(np.arange(length), places.shape)
    if firsts is not None:
        asked = np.maximum(firsts[places], starts[:, None]) - starts[:, None]
        sizes = np.bincount(firsts, minlength=len(firsts))
        weights /= sizes[firsts[places]]
    return Windows(
        rows=np.where(real, data.rows[places], 0).astype(np.int32),
        events=np.where(real, data.events[places] + 1, 0).astype(np.int32),
        ages_s=np.where(real, ages, 0).astype(np.float32),
        real=real.astype(np.float32),
        asked=np.where(real, asked, 0).astype(np.int32),
        weights=weights,
    )


def basket_firsts(data: Dataset) -> NDArray[np.int64]:
    """Return, for each position, the first position of its user's events of that moment."""
    new = np.ones(len(data.ts), np.bool_)
    new[1:] = np.diff(data.ts) != 0
    new[data.offsets[:-1][data.offsets[:-1] < len(new)]] = True
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def shuffled_baskets(data: Dataset, rng: np.random.Generator) -> Dataset:
    """Return the data with the events of each moment in a new order; the order says nothing."""
    order = np.lexsort((rng.random(len(data.ts)), basket_firsts(data)))
    return replace(data, rows=data.rows[order], events=data.events[order])


def batch_lengths(max_history: int) -> list[int]:
    """Return the lengths that batches come in, ascending; the last is `max_history`."""
    if max_history <= ONE_LENGTH_UP_TO:
        return [max_history]
    return [max_history * (i + 1) // N_LENGTHS for i in range(N_LENGTHS)]


def cut(
    data: Dataset, max_history: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each user's training events into windows; returns starts and stops, int64 [n].

    The last L events make one window, as the device will see them; what is older is cut into
    stretches of L from a new random place, so that every event is a target once an epoch.
    """
    starts, stops = [], []
    for user in range(data.n_users):
        first, end = int(data.offsets[user]), int(data.offsets[user + 1])
        # Held-out events are at a user's end in every split.
        n = int((data.fold[first:end] == TRAIN).sum())
        stop = n
        while stop > 0:
            size = int(rng.integers(1, max_history + 1)) if stop == n - max_history else max_history
            start = max(0, stop - size)
            if stop - start > 1:
                starts.append(first + start)
                stops.append(first + stop)
            stop = start
    return np.array(starts, np.int64), np.array(stops, np.int64)


def batches(
    data: Dataset,
    max_history: int,
    batch: int,
    rng: np.random.Generator,
    *,
    baskets: bool = False,
) -> Iterator[Windows]:
    """Yield one epoch of shuffled batches; `batch` windows of full length, more of shorter ones.

    baskets: events of one moment come in a new order and are predicted from earlier moments only.
    """
    firsts = None
    if baskets:
        data, firsts = shuffled_baskets(data, rng), basket_firsts(data)
    starts, stops = cut(data, max_history, rng)
    order = rng.permutation(len(starts))
    starts, stops = starts[order], stops[order]
    lengths = batch_lengths(max_history)
    kind = np.searchsorted(lengths, stops - starts)
    parts: list[tuple[int, NDArray[Any]]] = []
    for i, length in enumerate(lengths):
        chosen = np.flatnonzero(kind == i)
        size = batch * max_history // length
        parts += [(length, chosen[at : at + size]) for at in range(0, len(chosen), size)]
    for p in rng.permutation(len(parts)):
        length, chosen = parts[int(p)]
        empty = np.zeros(batch * max_history // length - len(chosen), np.int64)
        yield gather_windows(
            data,
            np.concatenate([starts[chosen], empty]),
            np.concatenate([stops[chosen], empty]),
            length,
            firsts=firsts,
        )
