"""Deltas: every pair of files comes back, and nothing in a delta is trusted."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.encoding.copies import steps
from pocketrec_bundle.encoding.delta import COPY, DIFFERENCE, MAX_BYTES, apply_delta, make_delta
from pocketrec_bundle.errors import BundleInvalidError

RNG = np.random.default_rng(5)
ROWS = RNG.integers(-127, 128, (4000, 32)).astype(np.int8)
CHANGED = RNG.permutation(4000)[:40]


@st.composite
def edited(draw):
    """A file and another that has pieces of it, moved, repeated and changed."""
    old = draw(st.binary(max_size=40)) * draw(st.integers(1, 30))
    new = b""
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(old)))
        new += old[start : start + draw(st.integers(0, 400))] + draw(st.binary(max_size=20))
    return old, new


@given(edited())
@settings(max_examples=150, deadline=None)
def test_any_new_file_comes_back_from_its_old_one(pair):
    old, new = pair
    form, delta = make_delta(old, new)
    assert apply_delta(form, delta, old, len(new)) == new


@given(st.integers(0, 200), st.integers(1, 9), st.integers(0, 127), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_int8_rows_that_move_come_back_whatever_wraps_round(n, dim, most, seed):
    rng = np.random.default_rng(seed)
    old = rng.integers(-128, 128, (n, dim)).astype(np.int8)
    moved = rng.integers(-most, most + 1, old.shape).astype(np.int8)
    files = encode_array(old), encode_array(old + moved)
    form, delta = make_delta(*files)
    assert apply_delta(form, delta, files[0], len(files[1])) == files[1]


@pytest.mark.parametrize(
    ("new", "literal"),
    [
        (np.where(np.isin(np.arange(4000), CHANGED)[:, None], 127 - ROWS, ROWS), 40 * 32),
        (np.delete(ROWS, CHANGED, 0), 0),
        (np.insert(ROWS, np.sort(CHANGED), ROWS[:40] // 2, 0), 40 * 32),
        (ROWS[RNG.permutation(40)[:, None] * 100 + np.arange(100)].reshape(-1, 32), 0),
    ],
    ids=["changed", "removed", "inserted", "blocks moved"],
)
def test_only_bytes_that_the_old_file_lacks_are_sent(new, literal):
    """A row that changes or comes in costs its bytes, what moves a step; 64 are the header's."""
    old, new = encode_array(ROWS), encode_array(new.astype(np.int8))
    found = list(steps(np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)))
    assert sum(fresh for fresh, _, _ in found) <= literal + 64
    form, delta = make_delta(old, new)
    assert form == COPY
    assert len(delta) <= literal + 64 + 12 * 40 + 200
    assert apply_delta(form, delta, old, len(new)) == new


def test_rows_that_all_move_a_little_go_as_differences():
    """log2(3) bits a value: a fifth of the bytes, and a little more."""
    moved = ROWS + RNG.integers(-1, 2, ROWS.shape).astype(np.int8)
    old, new = encode_array(ROWS), encode_array(moved)
    form, delta = make_delta(old, new)
    assert form == DIFFERENCE
    assert len(delta) < 0.3 * len(new)
    assert apply_delta(form, delta, old, len(new)) == new


def test_the_same_files_give_the_same_delta():
    pair = encode_array(ROWS), encode_array(np.delete(ROWS, CHANGED, 0))
    assert make_delta(*pair) == make_delta(*pair)


def content(steps, literal=b"", count=None):
    planes = np.array(steps, "<i4").reshape(-1, 3).T.copy().view(np.uint8)
    turned = planes.reshape(3, len(steps), 4).transpose(0, 2, 1).tobytes()
    n = len(steps) if count is None else count
    return lzma.compress(n.to_bytes(4, "little") + turned + literal)


OLD = bytes(range(64))


def test_a_delta_written_by_hand_is_applied():
    made = apply_delta(COPY, content([(2, 16, 3), (1, 20, 5)], b"abc"), OLD, 39)
    assert made == b"ab" + OLD[3:19] + b"c" + OLD[24:44]


@pytest.mark.parametrize(
    ("form", "delta", "size"),
    [
        (COPY, content([(0, 16, 49)]), 16),  # beyond the end
        (COPY, content([(0, 16, -1)]), 16),
        (COPY, content([(0, -16, 0)]), 16),
        (COPY, content([(-1, 17, 0)]), 16),
        (COPY, content([(0, 2**31 - 1, 2**31 - 1)] * 2), 16),
        (COPY, content([(0, 16, 0)]), 17),
        (COPY, content([(0, 16, 0)], b"left over"), 16),
        (COPY, content([(4, 16, 0)], b"abc"), 20),
        (COPY, content([(0, 16, 0)], count=2**32 - 1), 16),
        (COPY, content([(0, 1, 0)] * 16), 16),  # steps too many for the size
        (COPY, lzma.compress(b"ab"), 16),
        (COPY, b"", 0),
        (COPY, b"no xz stream", 16),
        (COPY, lzma.compress(bytes(300 << 20), preset=0), 16),
        (DIFFERENCE, lzma.compress(bytes(300 << 20), preset=0), 64),
        (DIFFERENCE, lzma.compress(bytes(63)), 64),
        (DIFFERENCE, lzma.compress(bytes(64)), 65),
        (DIFFERENCE, lzma.compress(bytes(64))[:-1], 64),
        (DIFFERENCE, lzma.compress(bytes(64)) + b"x", 64),
        (DIFFERENCE, lzma.compress(bytes(64), preset=9), 64),  # asks for too much memory
        (DIFFERENCE, lzma.compress(bytes(64)), MAX_BYTES + 1),
        ("patch", lzma.compress(bytes(64)), 64),
    ],
)
def test_a_delta_that_is_damaged_or_hostile_is_refused(form, delta, size):
    with pytest.raises(BundleInvalidError, match="delta: "):
        apply_delta(form, delta, OLD, size)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_delta_changed_anywhere_is_refused_or_gives_no_more_than_the_size(data):
    new = OLD[:40] + b"abc" * 9 + OLD[20:]
    form, delta = make_delta(OLD, new)
    at = data.draw(st.integers(0, len(delta) - 1))
    bad = delta[:at] + data.draw(st.binary(max_size=3)) + delta[at + 1 :]
    try:
        made = apply_delta(form, bad, OLD, len(new))
    except BundleInvalidError:
        return
    assert len(made) == len(new)
