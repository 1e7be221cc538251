import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.encoding import sorted_ids
from pocketrec_bundle.encoding.sorted_ids import MAX_BLOCK, MAX_SHARED, SortedIds, front_coded
from pocketrec_bundle.errors import BundleInvalidError, InputError


def plain(shapes, data) -> list[str]:
    """FORMAT.md's "Ids" in plain loops: by bytes, letter by letter."""
    found, before, at = [], b"", 0
    for shared, added in shapes.tolist():
        starts = [i for i, byte in enumerate(before) if byte & 0xC0 != 0x80] + [len(before)]
        before = before[: starts[shared]] + bytes(data[at : at + added])
        at += added
        found.append(before.decode("utf-8"))
    assert at == len(data)
    return found


NARROW = st.text("ab\0é€😀", max_size=8)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
IDS = st.sets(NARROW | ANY, max_size=80).map(sorted)


@given(IDS, st.text("ab\0é€😀\udc80", max_size=4))
def test_any_ids_come_back_and_are_found(ids, other):
    shapes, data = front_coded(ids)
    assert plain(shapes, data) == ids
    coded = SortedIds("ids", shapes, data)
    assert coded.all() == ids
    assert [coded.at(rank) for rank in range(len(ids))] == ids
    assert [coded.rank_of(one) for one in ids] == list(range(len(ids)))
    assert coded.rank_of(other) == (ids.index(other) if other in ids else -1)


def test_ids_are_in_the_order_of_their_utf8():
    ids = sorted(["z", "é", "￿", "\U00010000", "a"])
    assert ids == sorted(ids, key=str.encode)
    assert SortedIds("ids", *front_coded(ids)).rank_of("\U00010000") == 4


def test_long_runs_are_cut_into_blocks(monkeypatch):
    monkeypatch.setattr(sorted_ids, "_MEAN_BLOCK", 1 << 31)  # no hash cuts
    ids = [f"x{i:04}" for i in range(1000)]
    shapes, data = front_coded(ids)
    assert np.flatnonzero(shapes[:, 0] == 0).tolist() == list(range(0, 1000, MAX_BLOCK))
    assert SortedIds("ids", shapes, data).all() == ids


def test_no_id_takes_over_more_than_the_limit():
    ids = ["a" * 300, "a" * 301, "a" * 70_000]
    with pytest.raises(InputError, match="65535 bytes"):
        front_coded(ids)
    shapes, data = front_coded(ids[:2])
    assert shapes[:, 0].max() <= MAX_SHARED
    assert SortedIds("ids", shapes, data).all() == ids[:2]


def test_a_new_id_changes_its_own_block_only():
    ids = [f"item-{i:06}" for i in range(0, 20_000, 2)]
    before, _ = front_coded(ids)
    at = ids.index("item-007000") + 1
    after, data = front_coded([*ids[:at], "item-007001", *ids[at:]])
    assert SortedIds("ids", after, data).all() == [*ids[:at], "item-007001", *ids[at:]]
    same = np.flatnonzero((np.delete(after, at, axis=0) != before).any(axis=1))
    assert len(same) <= MAX_BLOCK
    assert all(abs(place - at) <= MAX_BLOCK for place in same)
    heads = np.flatnonzero(before[:, 0] == 0)
    assert 20 < np.diff(heads).mean() < 50


IDS_OF_FOUR = ["ab", "abc", "abd", "é1"]


def spoilt(change):
    shapes = np.array([[0, 2], [2, 1], [2, 1], [0, 3]], np.uint16)
    data = np.frombuffer("abcdé1".encode(), np.uint8).copy()
    assert SortedIds("ids", shapes, data).all() == IDS_OF_FOUR
    change(shapes, data)
    return SortedIds("ids", shapes, data)


def setting(row, column, value):
    return lambda shapes, data: shapes.__setitem__((row, column), value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting(0, 0, 1), "no first id"),
        (setting(1, 0, 3), "shares more than the one before"),
        (setting(2, 0, 4), "shares more than the one before"),
        (setting(2, 0, 256), "more than 255"),
        (setting(2, 0, 65_535), "more than 255"),
        (setting(1, 1, 0), "bytes in"),
        (setting(3, 1, 65_535), "bytes in"),
        (lambda shapes, data: data.__setitem__(4, ord("x")), "UTF-8"),
        (lambda shapes, data: data.__setitem__(3, 0xFF), "UTF-8"),
        (lambda shapes, data: shapes[2:, 1].__setitem__(slice(None), [2, 2]), "inside a letter"),
    ],
)
def test_ids_that_a_signer_spoilt_are_refused(change, message):
    with pytest.raises(BundleInvalidError, match=message):
        spoilt(change)


def test_the_letters_of_an_id_are_counted_not_its_bytes():
    shapes = np.array([[0, 2], [2, 1]], np.uint16)  # é has one letter in two bytes
    with pytest.raises(BundleInvalidError, match="shares more"):
        SortedIds("ids", shapes, np.frombuffer("éx".encode(), np.uint8))


def test_a_block_of_too_many_ids_is_refused():
    shapes = np.array([[0, 1], *[[1, 0]] * MAX_BLOCK], np.uint16)
    data = np.frombuffer(b"a", np.uint8)
    with pytest.raises(BundleInvalidError, match="128 ids"):
        SortedIds("ids", shapes, data)
    assert SortedIds("ids", shapes[:-1], data).all() == ["a"] * MAX_BLOCK


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12),
    st.text("abé😀", max_size=12).map(str.encode) | st.binary(max_size=12),
)
def test_any_shapes_and_bytes_are_ids_of_the_plain_reader_or_refused(shapes, data):
    shapes = np.array(shapes, np.uint16).reshape(-1, 2)
    data = np.frombuffer(data, np.uint8)
    try:
        found = SortedIds("ids", shapes, data)
    except BundleInvalidError:
        return
    assert found.all() == plain(shapes, data)
    for one in found.all():
        found.rank_of(one)  # in no order it may not be found


def test_any_sound_shapes_are_not_refused_by_mistake():
    """The property above would hold if everything were refused."""
    SortedIds("ids", np.zeros((0, 2), np.uint16), np.zeros(0, np.uint8))
    assert SortedIds("ids", np.array([[0, 0]], np.uint16), np.zeros(0, np.uint8)).all() == [""]
