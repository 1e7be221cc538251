"""Past cases as a new phone has them: only the last few events of each history are left."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.data.dataset import Dataset


def short_histories(
    data: Dataset, cases: Sequence[tuple[int, int]], lengths: NDArray[np.int64]
) -> tuple[Dataset, list[tuple[int, int]]]:
    """Return data in which each case is a user of its own, with the end of its history only.

    Events from the case on stay: they are what it is asked for.

    Args:
        data: the sequences; its items stay as they are.
        cases: (user, end): the history of a case is the first `end` events of the user.
        lengths: int64 [n], events that stay of each history; a shorter history stays whole.

    Returns:
        The data, and the cases in it, in the order given.

    Example:
        >>> short, ((user, end),) = short_histories(data, [(3, 40)], np.array([2]))
        >>> short.history(user, end).rows.tolist() == data.history(3, 40).rows[-2:].tolist()
        True
    """
    ends = np.array([end for _, end in cases], np.int64)
    kept = np.minimum(ends, lengths)
    users = np.array([user for user, _ in cases], np.int64)
    starts = data.offsets[:-1][users] + ends - kept
    sizes = data.offsets[1:][users] - starts
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, sizes)
    short = replace(
        data,
        user_ids=[data.user_ids[user] for user in users],
        offsets=offsets,
        rows=data.rows[at],
        events=data.events[at],
        ts=data.ts[at],
        fold=data.fold[at],
        values=None if data.values is None else data.values[at],
    )
    return short, list(enumerate(kept.tolist()))
