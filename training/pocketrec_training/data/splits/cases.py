"""Count the cases of a split by kind, to show before anything is trained."""

from dataclasses import dataclass

import numpy as np

from pocketrec_training.data.dataset import TEST, VALID, Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldCases:
    """What one fold asks for.

    Attributes:
        users: users with events of the fold.
        without_history: those of them who have no event before these.
        targets: different items that users with history are asked for.
        repeats: targets that are in the user's history.
        tied: users with history whose first event of the fold has the time of the event before.
    """

    users: int
    without_history: int
    targets: int
    repeats: int
    tied: int

    def sentence(self, name: str) -> str:
        """Return one line for the terminal."""
        told = (
            f"{name}: {self.users - self.without_history:,} users with history and "
            f"{self.without_history:,} without; {self.targets - self.repeats:,} items new to the "
            f"user, {self.repeats:,} repeats"
        )
        return f"{told}; {self.tied:,} cases tied in time" if self.tied else told


def split_cases(data: Dataset) -> dict[str, FoldCases]:
    """Return the cases of validation and test.

    Args:
        data: sequences with their folds.
    """
    return {"validation": _cases(data, VALID), "test": _cases(data, TEST)}


def _cases(data: Dataset, fold: int) -> FoldCases:
    users = without = targets = repeats = tied = 0
    for start, stop in zip(data.offsets[:-1], data.offsets[1:], strict=True):
        held = np.flatnonzero(data.fold[start:stop] == fold)
        if not len(held):
            continue
        users += 1
        if held[0] == 0:
            without += 1
            continue
        first = start + held[0]
        tied += int(data.ts[first] == data.ts[first - 1])
        wanted = np.unique(data.rows[start:stop][held])
        targets += len(wanted)
        repeats += int(np.isin(wanted, data.rows[start:first]).sum())
    return FoldCases(
        users=users, without_history=without, targets=targets, repeats=repeats, tied=tied
    )
