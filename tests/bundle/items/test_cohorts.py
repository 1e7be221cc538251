"""Cohort lists on reading: what a signer spoilt is refused, what is absent is none."""

import numpy as np
import pytest

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.items.cohorts import CODES_FILE, ROWS_FILE
from pocketrec_bundle.reader import open_bundle

CODES = np.array([2, 1], np.uint16)
ROWS = np.array([[4, 0], [3, -1]], np.int32)


def with_lists(folder, resign, codes=CODES, rows=ROWS):
    arrays = {CODES_FILE: codes, ROWS_FILE: rows}
    resign(folder, {k: encode_array(v) for k, v in arrays.items() if v is not None})
    return folder


def test_lists_are_read_by_category(make_bundle, resign):
    cohorts = open_bundle(with_lists(make_bundle(), resign)).cohorts
    assert cohorts is not None
    assert [cohorts.items(code).tolist() for code in (2, 1, 3, 0)] == [[4, 0], [3], [], []]


def test_a_release_without_them_and_one_of_version_1_have_none(make_bundle, resign):
    assert open_bundle(make_bundle()).cohorts is None
    old = with_lists(make_bundle("old", version=1), resign, rows=np.full((2, 2), 9, np.int32))
    assert open_bundle(old).cohorts is None


@pytest.mark.parametrize(
    ("codes", "rows", "message"),
    [
        (None, ROWS, "has no file"),
        (CODES, None, "has no file"),
        (CODES.astype(np.int32), ROWS, "expected u2"),
        (CODES[:, None], ROWS, "expected u2"),
        (CODES, ROWS.astype(np.float32), "expected i4"),
        (CODES, ROWS[0], "expected i4"),
        (CODES[:1], ROWS, "expected i4"),
        (np.array([2, 3], np.uint16), ROWS, "outside 0..2"),
        (CODES, np.array([[4, 0], [5, -1]], np.int32), r"outside -1\.\.4"),
        (CODES, np.array([[4, 0], [-2, -1]], np.int32), r"outside -1\.\.4"),
        (CODES, np.full((2, 51), -1, np.int32), "50"),
        (np.ones(257, np.uint16), np.full((257, 1), -1, np.int32), "256"),
    ],
)
def test_lists_that_do_not_fit_are_refused(make_bundle, resign, codes, rows, message):
    folder = with_lists(make_bundle(), resign, codes, rows)
    with pytest.raises(BundleInvalidError, match=message):
        open_bundle(folder)
