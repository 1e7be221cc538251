"""The cohort lists of a release, beside plain loops."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.items.cohorts import MAX_COHORT_ITEMS, MAX_COHORTS, NO_ITEM
from pocketrec_export.items.cohorts import cohort_lists


def reference(categories, popularity, available):
    had: Counter[int] = Counter()
    for row, codes in enumerate(categories.tolist()):
        had.update({code for code in codes if code and available[row]})
    commonest = sorted(had, key=lambda code: (-had[code], code))[:MAX_COHORTS]
    lists = {}
    for code in commonest:
        rows = [r for r in range(len(categories)) if available[r] and code in categories[r]]
        lists[code] = sorted(rows, key=lambda r: (-popularity[r], r))[:MAX_COHORT_ITEMS]
    return lists


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_lists_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    n, n_codes = int(rng.integers(0, 400)), int(rng.choice([1, 5, 400]))
    categories = np.array([rng.choice(n_codes + 1, 2) for _ in range(n)], np.uint16).reshape(n, 2)
    popularity = rng.integers(0, 20, n).astype(np.float32)
    available = rng.random(n) < 0.8
    found = cohort_lists(categories, popularity, available)
    wanted = reference(categories, popularity, available)
    assert found.codes.tolist() == list(wanted)
    assert [found.items(code).tolist() for code in wanted] == list(wanted.values())
    assert found.codes.dtype == np.uint16
    assert found.rows.dtype == np.int32
    assert found.rows.shape == (len(wanted), max(map(len, wanted.values()), default=0))


def test_the_most_popular_stand_first_and_withdrawn_items_nowhere():
    categories = np.array([[1, 0], [2, 1], [1, 0], [2, 0], [1, 2]], np.uint16)
    popularity = np.array([5, 9, 5, 1, 7], np.float32)
    available = np.array([True, True, True, True, False])
    found = cohort_lists(categories, popularity, available)
    assert found.codes.tolist() == [1, 2]
    assert found.rows.tolist() == [[1, 0, 2], [1, 3, NO_ITEM]]
