"""The cases of a split are counted by kind."""

import numpy as np

from pocketrec_training.data.dataset import TEST, TRAIN, VALID, Dataset, Items
from pocketrec_training.data.splits.cases import FoldCases, split_cases


def test_cases_are_counted_by_kind():
    items = Items(
        ids=["a", "b", "c"],
        titles=["a", "b", "c"],
        categories=[(), (), ()],
        price=np.zeros(3, np.float32),
        year=np.zeros(3, np.float32),
    )
    data = Dataset(
        items=items,
        user_ids=["old", "new"],
        offsets=np.array([0, 5, 7]),
        rows=np.array([0, 1, 1, 2, 0, 1, 1], np.int32),
        events=np.zeros(7, np.int32),
        ts=np.array([0, 1, 1, 3, 4, 5, 6]),
        fold=np.array([TRAIN, TRAIN, VALID, TEST, TEST, TEST, TEST], np.int8),
    )
    found = split_cases(data)
    assert found["validation"] == FoldCases(
        users=1, without_history=0, targets=1, repeats=1, tied=1
    )
    assert found["test"] == FoldCases(users=2, without_history=1, targets=2, repeats=1, tied=0)
    assert found["test"].sentence("test") == (
        "test: 1 users with history and 1 without; 1 items new to the user, 1 repeats"
    )
    assert found["validation"].sentence("validation").endswith("1 repeats; 1 cases tied in time")
