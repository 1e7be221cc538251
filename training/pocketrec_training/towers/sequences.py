"""Training windows: parts of users' histories, cut again each epoch and batched by length.

A batch holds windows of similar length, to limit padding. All batches hold about the same number
of events: many short windows or a few long windows. Batches of one length have one shape, because
XLA compiles a graph for each shape. The few lengths are chosen from the data.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import TRAIN, Dataset

N_LENGTHS = 4
"""Most lengths of batches: each has a graph to compile (`docs/quality.md`).

TensorFlow warns of retracing from five graphs in ten calls on.
"""

MIN_SAVED = 10_000
"""Positions of an epoch that a further length has to save, or it is not worth its graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Left-aligned events of n windows, zero after the end; all but `places` are [n, L].

    Attributes:
        rows: item rows.
        events: event code + 1.
        ages_s: seconds before the window's end.
        real: 1 where there is an event.
        asked: of each event as a target, how many events of the window came before the moment at
            which it is predicted.
        weights: of each event as a target; all events of one basket together weigh as much as one
            event alone.
        places: [T], targets that the loss scores, as places in the flat [n L]: all events, then as
            many padded places (weight 0) as fill the batch's shape.
    """

    rows: NDArray[np.int32]
    events: NDArray[np.int32]
    ages_s: NDArray[np.float32]
    real: NDArray[np.float32]
    asked: NDArray[np.int32]
    weights: NDArray[np.float32]
    places: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Windows, length, scored targets: what a compiled step depends on."""
        n, length = self.rows.shape
        return n, length, len(self.places)


def gather_windows(
    data: Dataset,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    length: int,
    now_utc: NDArray[np.int64] | None = None,
    firsts: NDArray[np.int64] | None = None,
    n_targets: int | None = None,
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
        n_targets: T, at least the number of events in the windows; None for all n L places.
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
    padded_last = np.argsort(~real, axis=None, kind="stable")
    return Windows(
        rows=np.where(real, data.rows[places], 0).astype(np.int32),
        events=np.where(real, data.events[places] + 1, 0).astype(np.int32),
        ages_s=np.where(real, ages, 0).astype(np.float32),
        real=real.astype(np.float32),
        asked=np.where(real, asked, 0).astype(np.int32),
        weights=weights,
        places=padded_last[:n_targets].astype(np.int32),
    )


def basket_firsts(data: Dataset) -> NDArray[np.int64]:
    """Return, for each position, the first position of its user's events of that moment."""
    new = np.ones(len(data.ts), np.bool_)
    new[1:] = np.diff(data.ts) != 0
    new[data.offsets[:-1][data.offsets[:-1] < len(new)]] = True
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def shuffled_baskets(data: Dataset, rng: np.random.Generator) -> Dataset:
    """Return the data with the events of each time stamp in a random order."""
    order = np.lexsort((rng.random(len(data.ts)), basket_firsts(data)))
    return replace(data, rows=data.rows[order], events=data.events[order])


def batch_lengths(sizes: NDArray[np.int64]) -> list[int]:
    """Choose the lengths that batches come in, ascending; the last is the longest window's.

    Each added length saves the most positions. A window uses the next longer length.

    Args:
        sizes: int64 [n], events of each window.
    """
    up_to = np.cumsum(np.bincount(sizes))  # windows of at most so many events
    lengths = [len(up_to) - 1]

    def positions(lengths: list[int]) -> int:
        ends = np.array(sorted(lengths))
        return int((ends * np.diff(up_to[ends], prepend=0)).sum())

    while len(lengths) < N_LENGTHS:
        best = min(range(1, lengths[0] + 1), key=lambda length: positions([*lengths, length]))
        if positions(lengths) - positions([*lengths, best]) < MIN_SAVED:
            break
        lengths.append(best)
    return sorted(lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """Shape of the batches of one length: `windows` windows of `length`, `targets` scored."""

    windows: int
    length: int
    targets: int


def batch_shapes(data: Dataset, max_history: int, batch: int) -> list[BatchShape]:
    """Choose the shapes of a data set's batches, by length ascending; the same in every epoch.

    Args:
        data: its training events count.
        max_history: L.
        batch: windows a batch on average: a batch of any shape holds as many events as `batch`
            windows of mean length.
    """
    starts, stops = cut(data, max_history, np.random.default_rng(0))
    sizes = stops - starts
    if not len(sizes):
        return []
    lengths = batch_lengths(sizes)
    kind = np.searchsorted(lengths, sizes)
    events = max(math.ceil(batch * sizes.mean()), lengths[-1])
    shapes = []
    for i, length in enumerate(lengths):
        n = math.ceil(events / sizes[kind == i].mean())
        shapes.append(BatchShape(windows=n, length=length, targets=min(events, n * length)))
    return shapes


def cut(
    data: Dataset, max_history: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each user's training events into windows; returns starts and stops, int64 [n].

    The last L events are one window, as on the device. Older events are cut into parts of L events
    at a random offset, so each event is a target once in each epoch.
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
    shuffles: bool = False,
) -> Iterator[Windows]:
    """Yield one epoch of shuffled batches, in the shapes of `batch_shapes`.

    baskets: events of one moment come in a new order and are predicted from earlier moments only.
    shuffles: events of one moment come in a new order and are predicted from those before them, so
    that a history without times is learned as a set.
    """
    shapes = batch_shapes(data, max_history, batch)
    firsts = None
    if baskets or shuffles:
        data = shuffled_baskets(data, rng)
    if baskets:
        firsts = basket_firsts(data)
    starts, stops = cut(data, max_history, rng)
    order = rng.permutation(len(starts))
    starts, stops = starts[order], stops[order]
    kind = np.searchsorted([shape.length for shape in shapes], stops - starts)
    parts = [
        (shape, part)
        for i, shape in enumerate(shapes)
        for part in _packed(np.flatnonzero(kind == i), stops - starts, shape)
    ]
    for p in rng.permutation(len(parts)):
        shape, chosen = parts[int(p)]
        empty = np.zeros(shape.windows - len(chosen), np.int64)
        yield gather_windows(
            data,
            np.concatenate([starts[chosen], empty]),
            np.concatenate([stops[chosen], empty]),
            shape.length,
            firsts=firsts,
            n_targets=shape.targets,
        )


def _packed(
    chosen: NDArray[np.int64], sizes: NDArray[np.int64], shape: BatchShape
) -> Iterator[NDArray[np.int64]]:
    """Split windows, in their order, into batches that a shape can hold."""
    at = 0
    while at < len(chosen):
        totals = np.cumsum(sizes[chosen[at : at + shape.windows]])
        n = int(np.searchsorted(totals, shape.targets, side="right"))
        yield chosen[at : at + n]
        at += n
