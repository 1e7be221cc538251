import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import is_integer, is_number, is_text, parse_json, shown
from pocketrec_bundle.errors import BundleInvalidError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_the_writer_writes_is_read_back(value):
    assert parse_json("x", canonical_json(value)) == value
    assert parse_json("x", json.dumps(value).encode()) == value  # with escapes


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data):
    try:
        parse_json("x", data)
    except BundleInvalidError as err:
        assert str(err).startswith("x: ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"a":2}}]',
        b"[NaN]",
        b"-Infinity",
        b"[1e999]",
        b"1" * 5000,
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        "[1]".encode("utf-16"),
        b"[" * 100_000,
        b"1 2",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data):
    with pytest.raises(BundleInvalidError, match=r"^x: not JSON \(.{1,200}\)$"):
        parse_json("x", data)


def test_a_pair_of_escapes_is_one_letter_and_an_escaped_backslash_is_none():
    assert parse_json("x", b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
    assert parse_json("x", b'"\\\\ud800"') == "\\ud800"


def test_size_is_checked_before_parsing():
    assert parse_json("x", b"[1]", 3) == [1]
    with pytest.raises(BundleInvalidError, match="4 bytes exceed 3"):
        parse_json("x", b"[1]]", 3)


@pytest.mark.parametrize(
    ("value", "integer", "number", "text"),
    [
        (0, True, True, False),
        (9, True, True, False),
        (10, False, False, False),
        (10**400, False, False, False),
        (True, False, False, False),
        (1.0, False, True, False),
        (float("nan"), False, False, False),
        (float("inf"), False, False, False),
        ("1", False, False, True),
        ("1" * 201, False, False, False),
        (None, False, False, False),
        ([1], False, False, False),
    ],
)
def test_a_value_is_what_its_type_and_bounds_say(value, integer, number, text):
    found = is_integer(value, 0, 9), is_number(value, 0, 9), is_text(value)
    assert found == (integer, number, text)


def test_long_values_are_cut_in_messages():
    assert shown("a") == "'a'"
    assert len(shown(["x" * 100] * 1000)) < 250
