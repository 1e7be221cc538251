import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.encoding.columns import (
    Coded,
    Stacked,
    code_dtype,
    coded,
    column_files,
    numbers_at,
    open_column,
)
from pocketrec_bundle.errors import BundleInvalidError


class Release(dict):
    """Array files by name."""

    def array(self, name):
        return self[name]

    def lists(self, name):
        return name in self


def accept(name, values):
    pass


FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=60)
PAIRS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=60)


def floats(values):
    return np.array(values, np.float32)


def rows(values):
    return np.array(values, np.uint16).reshape(-1, 3)


@given(FLOATS.map(floats) | PAIRS.map(rows))
def test_a_coded_column_gives_every_value_back_bit_by_bit(values):
    found = coded(values)
    assert found[:].tobytes() == values.tobytes()
    assert len({row.tobytes() for row in found.values}) == len(found.values)
    assert len(found) == len(values)


@given(FLOATS.map(floats), FLOATS.map(floats), st.integers(1, 200))
def test_a_column_opens_as_it_was_whichever_form_is_smaller(values, before, times):
    values, before = np.tile(values, times), np.tile(before, times)
    base = Release(column_files("c", before))
    files = column_files("c", values, base)
    opened = open_column(Release(files), "c", ("f4", (len(values),)), accept)
    assert opened[:].tobytes() == values.tobytes()
    at = np.arange(len(values))[::3]
    assert opened[at].tobytes() == values[at].tobytes()
    sizes = {name: len(encode_array(array)) for name, array in files.items()}
    assert sum(sizes.values()) <= 64 + values.nbytes


@given(PAIRS.map(rows), PAIRS.map(rows))
def test_a_table_goes_on_from_the_one_before(before, after):
    base = coded(before)
    found = coded(after, base.values)
    assert found[:].tobytes() == after.tobytes()
    assert found.values[: len(base.values)].tobytes() == base.values.tobytes()
    assert len({row.tobytes() for row in found.values}) == len(found.values)


def test_values_out_of_use_are_dropped_where_they_would_widen_the_codes():
    base = np.arange(250, dtype=np.float32)
    kept = coded(np.array([3, 1000, 3], np.float32), base)
    assert (len(kept.values), kept.codes.tolist()) == (251, [3, 250, 3])
    dropped = coded(np.arange(200, 220, dtype=np.float32) + np.float32(100), base)
    assert (len(dropped.values), dropped.codes.dtype) == (20, np.dtype(np.uint8))


def test_a_table_that_repeats_itself_is_gone_on_from_all_the_same():
    found = coded(np.array([5, 7], np.float32), np.array([5, 5], np.float32))
    assert found[:].tolist() == [5, 7]
    assert found.values.tolist() == [5, 5, 7]


@pytest.mark.parametrize(
    ("n", "dtype"), [(0, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "i4")]
)
def test_codes_are_as_narrow_as_can_be(n, dtype):
    assert code_dtype(n) == np.dtype(dtype)


def test_of_different_values_only_the_values_are_stored():
    values = np.arange(70_000, dtype=np.float32)
    assert list(column_files("c", values)) == ["c.values"]
    wide = np.repeat(values[:, None], 9, axis=1)
    assert column_files("c", np.tile(wide, (2, 1)))["c.codes"].dtype == np.int32


@given(PAIRS.map(rows), st.integers(0, 2))
def test_one_number_of_every_row_is_that_of_the_plain_array(values, place):
    wanted = values[:, place].tolist()
    assert numbers_at(values, place).tolist() == wanted
    assert numbers_at(coded(values), place).tolist() == wanted


def test_stacked_columns_read_as_one_array():
    one, two = floats([1, 2, 3]), Coded(np.array([1, 0, 1], np.uint8), floats([5, 6]))
    stacked = Stacked((one, two))
    assert len(stacked) == 3
    assert stacked[:].tolist() == [[1, 6], [2, 5], [3, 6]]
    assert stacked[np.array([2, 0])].tolist() == [[3, 6], [1, 6]]
    assert stacked[1].tolist() == [2, 5]


def test_a_value_that_all_rows_have_is_stored_once():
    for values in (np.full(500, 2.5, np.float32), np.tile(np.array([[1, 0]], np.uint16), (500, 1))):
        files = column_files("c", values)
        assert files["c.values"].tobytes() == values[:1].tobytes()
        form = (values.dtype.str[1:], values.shape)
        opened = open_column(Release(files), "c", form, accept)
        assert opened[:].tobytes() == values.tobytes()
        assert len(opened[np.array([499, 3])]) == 2


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([0, 2], np.uint8), "outside 0..1"),
        (np.array([0, -1], np.int32), "outside 0..1"),
        (np.array([0, 1], np.int8), "u1 or u2 or i4"),
        (np.array([0, 1], np.float32), "u1 or u2 or i4"),
        (np.array([0, 1, 0], np.uint8), "expected"),
        (np.array([[0], [1]], np.uint8), "expected"),
    ],
)
def test_codes_that_no_value_has_are_refused(codes, message):
    release = Release({"c.codes": codes, "c.values": floats([1, 2])})
    with pytest.raises(BundleInvalidError, match=message):
        open_column(release, "c", ("f4", (2,)), accept)
