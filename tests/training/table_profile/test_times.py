"""Times are recognised in the forms that public files have."""

import math

import pytest

from pocketrec_training.table_profile.times import recognise_time

NOON = 1_600_000_000  # 2020-09-13 12:26:40 UTC
MIDNIGHT = 1_599_955_200


def recognised(*values: str, name: str = "time"):
    numbers = {}
    for value in values:
        try:
            numbers[value] = float(value)
        except ValueError:
            continue
    return recognise_time(name, dict.fromkeys(values, 1), numbers)


@pytest.mark.parametrize(
    ("text", "formats", "seconds"),
    [
        ("1600000000", (), NOON),
        ("1600000000000", (), NOON),
        ("1600000000000000", (), NOON),
        ("2020-09-13 12:26:40", (), NOON),
        ("2020-09-13T12:26:40.123Z", (), NOON),
        ("2020-09-13T14:26:40+02:00", (), NOON),
        ("2020-09-13", (), MIDNIGHT),
        ("20200913", (), MIDNIGHT),
        ("09 13, 2020", ("%m %d, %Y",), MIDNIGHT),
        ("13-Sep-2020", ("%d-%b-%Y",), MIDNIGHT),
        ("13/09/2020", ("%d/%m/%Y",), MIDNIGHT),
        ("13.09.2020 12:26:40", ("%d.%m.%Y %H:%M:%S",), NOON),
        ("9/13/2020 12:26", ("%m/%d/%Y %H:%M",), NOON - 40),
        ("9/13/2020 12:26:40 PM", ("%m/%d/%Y %I:%M:%S %p",), NOON),
    ],
)
def test_a_form_is_recognised_and_read(text, formats, seconds):
    form = recognised(text)
    assert form is not None
    assert form.formats == formats
    assert form.seconds([text]).astype(int).tolist() == [seconds]


def test_a_value_above_12_decides_between_day_and_month():
    form = recognised("3/4/2020", "3/14/2020", "5/6/2020")
    assert form is not None
    assert form.formats == ("%m/%d/%Y",)


def test_both_formats_are_given_if_no_value_decides():
    form = recognised("3/4/2020", "5/6/2020")
    assert form is not None
    assert form.formats == ("%d/%m/%Y", "%m/%d/%Y")


@pytest.mark.parametrize("value", ["44087.5", "18518"])
def test_days_are_times_only_in_a_column_with_such_a_name(value):
    form = recognised(value)
    assert form is not None
    assert math.floor(form.seconds([value])[0] / 86_400) == 18_518
    assert recognised(value, name="price") is None


@pytest.mark.parametrize("values", [("1", "2", "3"), ("drama", "war"), ("4.5",), ("B000K2PJ4K",)])
def test_other_values_are_not_times(values):
    assert recognised(*values) is None
