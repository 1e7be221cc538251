"""Find ranker features that leak the future: alter later events and compare the features.

A release (item vectors, item columns) is made from the training fold and is given. The future of a
case is then all else from its moment on: the user's own events, and everybody's held-out ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import TRAIN, Dataset
from pocketrec_training.errors import FeatureLeakError
from pocketrec_training.ranker.candidate_lists import (
    CandidateGenerator,
    CandidateLists,
    Case,
    feature_names,
)

Builder = Callable[[Dataset], CandidateGenerator]

SAMPLE = 16
"""Cases checked before a ranker trains; a feature that knows the future shows in nearly each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakCheck:
    """What was checked and found free of leaks; saved in `train_report.json`."""

    cases: int
    features: tuple[str, ...]


def check_learning_cases(candidates: CandidateGenerator, cases: list[Case], seed: int) -> LeakCheck:
    """Check a sample of the cases that a ranker is about to learn from.

    Raises:
        FeatureLeakError: as for `check_no_leak`.
    """
    drawn = np.random.default_rng([seed, 8]).permutation(len(cases))[:SAMPLE]
    return check_no_leak(candidates.over, candidates.data, [cases[i] for i in drawn], seed)


def check_no_leak(build: Builder, data: Dataset, cases: list[Case], seed: int) -> LeakCheck:
    """Rebuild the features of cases with another future and compare.

    Args:
        build: makes the candidates of a data set, as training does.
        data: the real sequences.
        cases: a few hundred are plenty; each costs two lists and the item columns.
        seed: of the altered future.

    Raises:
        FeatureLeakError: a feature changed; names the features and a case of each.
    """
    leaks = find_leaks(build, data, cases, seed)
    if leaks:
        where = ", ".join(
            f"{name} (user {data.user_ids[user]!r}, event {end + 1} of {len(data.history(user))})"
            for name, (user, end) in leaks.items()
        )
        raise FeatureLeakError(
            f"ranker features that know the future: {where}. They changed when later events "
            "were altered. Compute them from the events before the moment and from the training "
            "fold only, in pocketrec_bundle.ranker_features or "
            "pocketrec_training.ranker.candidate_lists, and run the command again: the towers "
            "trained so far are kept."
        )
    return LeakCheck(cases=len(cases), features=tuple(feature_names(build(data).spec)))


def find_leaks(build: Builder, data: Dataset, cases: list[Case], seed: int) -> dict[str, Case]:
    """Return features that change with the future, as "pair.times_had", with the first such case.

    Sorted by name.
    """
    rng = np.random.default_rng([seed, 4])
    found: dict[str, Case] = {}
    before = build(data)
    for case in cases:
        real = before.lists_for([case])
        # What is not the user's own stays in the release, so its columns are counted only once.
        altered = build(altered_future(data, case, rng)).lists_for([case])
        for name in feature_names(before.spec):
            one, two = (_feature(before.spec, lists, name) for lists in (real, altered))
            if not np.array_equal(one, two):
                found.setdefault(name, case)
    return dict(sorted(found.items()))


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


def _feature(spec: FeatureSpec, lists: CandidateLists, name: str) -> NDArray[Any]:
    """Take one of `feature_names` from lists."""
    group, _, column = name.partition(".")
    values: NDArray[Any] = getattr(lists, group)
    return values[..., getattr(spec, group).index(column)] if column else values
