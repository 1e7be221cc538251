import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding.bit_records import (
    MAX_BITS,
    bits_for,
    expect_fields_below,
    fields_of,
    record_bytes,
    records,
)
from pocketrec_bundle.errors import BundleInvalidError


def test_fields_lie_side_by_side_from_the_lowest_bit():
    made = records([np.array([1, 5]), np.array([300, 511]), np.array([1, 0])], [3, 9, 1])
    # Row 0: 1 + (300 << 3) + (1 << 12) = 6497 = 0x1961. Row 1: 5 + (511 << 3) = 4093 = 0x0ffd.
    assert made.tolist() == [[0x61, 0x19], [0xFD, 0x0F]]


@pytest.mark.parametrize(("n", "bits"), [(1, 0), (2, 1), (3, 2), (256, 8), (257, 9)])
def test_bits_hold_all_numbers_below_n(n, bits):
    assert bits_for(n) == bits


@given(st.lists(st.integers(1, MAX_BITS), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_every_field_reads_what_was_written(bits, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, 1 << each, 19) for each in bits]
    made = records(columns, bits)
    assert made.shape == (19, record_bytes(bits))
    rows = rng.integers(0, 19, 7)
    read = np.ascontiguousarray(made[rows].T)
    for column, field in zip(columns, fields_of(bits), strict=True):
        assert field.of(read).tolist() == column[rows].tolist()


def test_a_removed_row_leaves_the_bytes_of_the_others():
    columns = [np.arange(50) % 7, np.arange(50) * 3]
    whole = records(columns, [3, 11])
    fewer = records([np.delete(each, 20) for each in columns], [3, 11])
    assert np.delete(whole, 20, axis=0).tobytes() == fewer.tobytes()


def test_a_number_beyond_its_limit_is_refused():
    bits = [3, 12]
    made = records([np.arange(40_000) % 8, np.arange(40_000) % 4000], bits)
    first, second = fields_of(bits)
    expect_fields_below("f", made, [("a", first, 8), ("b", second, 4000)])
    with pytest.raises(BundleInvalidError, match=r"f: b: a code is not in 0\.\.3998") as caught:
        expect_fields_below("f", made, [("a", first, 8), ("b", second, 3999)])
    assert caught.value.code == "out_of_range"
