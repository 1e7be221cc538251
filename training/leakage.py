"""Find ranker features that know the future: change what comes later and see what moves.

A release (item vectors, item columns) is made from the training fold and is given. The future of a
case is then all else from its moment on: the user's own events, and everybody's held-out ones.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.dataset import TRAIN, Dataset
from training.errors import FeatureLeak
from training.slates import Candidates, Case, Slates

Builder = Callable[[Dataset], Candidates]


def check_no_leak(build: Builder, data: Dataset, cases: list[Case], seed: int) -> None:
    """Rebuild the features of cases with another future and compare.

    Args:
        build: makes the candidates of a data set, as training does.
        data: the real sequences.
        cases: a few hundred are plenty; each costs two lists.
        seed: of the altered future.

    Raises:
        FeatureLeak: a feature changed; names the columns.
    """
    leaks = find_leaks(build, data, cases, seed)
    if leaks:
        raise FeatureLeak(
            f"ranker features that depend on what happens later: {', '.join(leaks)}. Compute them "
            "from the history before the event and from the training fold only."
        )


def find_leaks(build: Builder, data: Dataset, cases: list[Case], seed: int) -> list[str]:
    """Return the names of features that change with the future, sorted, e.g. "pair.times_had"."""
    rng = np.random.default_rng([seed, 4])
    found: set[str] = set()
    before = build(data)
    for case in cases:
        real = before.slates([case])
        # What is not the user's own stays in the release, so its columns are counted only once.
        altered = build(altered_future(data, case, rng)).slates([case])
        found |= set(_differing(before, real, altered))
    return sorted(found)


def altered_future(data: Dataset, case: Case, rng: np.random.Generator) -> Dataset:
    """Draw other items, kinds and later times for all that a case must not know.

    The case's own time stays: a device knows what time it is.
    """
    user, end = case
    at = int(data.offsets[user]) + end
    own = np.zeros(len(data.rows), np.bool_)
    own[at : int(data.offsets[user + 1])] = True
    later = own | ((data.fold != TRAIN) & (data.ts >= data.ts[at]))
    later &= ~_past(data, user, end)
    rows, events, ts = data.rows.copy(), data.events.copy(), data.ts.copy()
    n = int(later.sum())
    rows[later] = rng.integers(0, len(data.items), n)
    events[later] = rng.integers(0, int(data.events.max()) + 1, n)
    own[at] = False
    ts[own] += int(rng.integers(1, 10**6))
    return replace(data, rows=rows, events=events, ts=ts)


def _past(data: Dataset, user: int, end: int) -> NDArray[np.bool_]:
    """The case's history: events of the same second that come before it count as known."""
    mark = np.zeros(len(data.rows), np.bool_)
    start = int(data.offsets[user])
    mark[start : start + end] = True
    return mark


def _differing(candidates: Candidates, one: Slates, two: Slates) -> list[str]:
    spec = candidates.spec
    found = [
        f"{group}.{name}"
        for group, names in (
            ("context", spec.context),
            ("numeric", spec.numeric),
            ("pair", spec.pair),
        )
        for i, name in enumerate(names)
        if not np.array_equal(getattr(one, group)[..., i], getattr(two, group)[..., i])
    ]
    if not np.array_equal(one.user_vector, two.user_vector):
        found.append("user_vector")
    return found if np.array_equal(one.rows, two.rows) else [*found, "rows"]
