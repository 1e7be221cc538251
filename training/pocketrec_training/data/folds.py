"""The fold of each event by the recipe's split: training, validation or test."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.recipe.tables import Split

TRAIN, VALID, TEST = 0, 1, 2
FOLD_WORDS = {
    TRAIN: ("train", "training", "tr", "0"),
    VALID: ("valid", "validation", "val", "dev", "eval", "1"),
    TEST: ("test", "testing", "te", "2"),
}
"""What `split.column` can say, in small letters, of each fold."""


def least_events(split: Split) -> int:
    """Fewest events of a user whose last two `leave_last` holds out: one stays before them."""
    return max(split.min_user_events, 3)


def given_folds(
    split: Split, given: NDArray[np.int8], users: NDArray[np.int64], drawn: NDArray[np.uint32]
) -> NDArray[np.int8]:
    """Return the fold of each event as somebody else chose it, with a validation fold.

    Args:
        split: gives the share to draw from training where no validation events are given.
        given: int8 [n], of each event.
        users: as for `random_folds`.
        drawn: as for `random_folds`.
    """
    if (given == VALID).any():
        return given
    # A validation fold is needed to choose epochs, and is drawn from training alone.
    fold = given.copy()
    train = np.flatnonzero(fold == TRAIN)
    part = random_folds(split, users[train], drawn[train])
    fold[train[part == VALID]] = VALID
    return fold


def random_folds(
    split: Split, users: NDArray[np.int64], drawn: NDArray[np.uint32]
) -> NDArray[np.int8]:
    """Hold out a share of each user's items, all events of an item together.

    Users with fewer than `least_events` items keep them all for training. Of others at least one
    item is held out for validation and one for the test, and one stays.

    Args:
        split: gives the shares.
        users: int64 [n], of each event.
        drawn: uint32 [n], a random number of each event's user and item.
    """
    fold = np.full(len(users), TRAIN, np.int8)
    order = np.lexsort((drawn, users))
    for part in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        items, item_of_event = np.unique(drawn[part], return_inverse=True)
        if len(items) < least_events(split):
            continue
        n_test = max(1, round(split.test_share * len(items)))
        n_valid = max(1, min(round(split.valid_share * len(items)), len(items) - n_test - 1))
        n_test = min(n_test, len(items) - n_valid - 1)
        fold[part[item_of_event < n_test + n_valid]] = VALID
        fold[part[item_of_event < n_test]] = TEST
    return fold


def folds(recipe: Recipe, offsets: NDArray[np.int64], ts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the fold of each event by the recipe's split; offsets, ts: as in `Dataset`."""
    split = recipe.split
    fold = np.full(len(ts), TRAIN, np.int8)
    if split.kind == "leave_last":
        eligible = np.diff(offsets) >= least_events(split)
        fold[offsets[1:][eligible] - 1] = TEST
        fold[offsets[1:][eligible] - 2] = VALID
        return fold
    if split.kind == "last_basket":
        return _last_baskets(split.min_user_events, offsets, ts)
    times = np.append(np.sort(ts), np.iinfo(np.int64).max)  # the end: nothing is held out
    n = len(ts)
    test_from = times[int(n * (1 - split.test_share))]
    valid_from = times[int(n * (1 - split.test_share - split.valid_share))]
    fold[ts >= valid_from] = VALID
    fold[ts >= test_from] = TEST
    return fold


def _last_baskets(
    least: int, offsets: NDArray[np.int64], ts: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Hold out whole baskets: events of one user with one time stamp stay together.

    Users with fewer than three baskets or `least` events keep them all for training.
    """
    fold = np.full(len(ts), TRAIN, np.int8)
    for start, stop in pairwise(offsets):
        times = np.unique(ts[start:stop])
        if stop - start < least or len(times) < 3:
            continue
        part = fold[start:stop]
        part[ts[start:stop] == times[-1]] = TEST
        part[ts[start:stop] == times[-2]] = VALID
    return fold
