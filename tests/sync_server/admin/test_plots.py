"""Plots and wording: numbers by hand, and nothing from outside becomes markup."""

import itertools
import re
import xml.etree.ElementTree as ET
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_server.admin import formatting
from pocketrec_server.admin.plots import HEIGHT, WIDTH, Series, share_bar, stacked_bars, ticks

SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup):
    return ET.fromstring(  # noqa: S314 - ours
        str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    )


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (3, [0, 1, 2, 3]),
        (5, [0, 2, 4, 6]),
        (18, [0, 5, 10, 15, 20]),
        (25, [0, 10, 20, 30]),
        (260, [0, 100, 200, 300]),
        (42_600_000, [0, 20_000_000, 40_000_000, 60_000_000]),
    ],
)
def test_an_axis_is_marked_at_round_whole_numbers(most, marks):
    assert ticks(most) == marks


@pytest.mark.parametrize("word", [formatting.count, formatting.size])
@given(most=st.one_of(st.integers(0, 2000), st.integers(0, 10**13)))
@settings(max_examples=300, deadline=None)
def test_every_label_of_an_axis_is_the_value_at_which_it_stands(word, most):
    marks = ticks(most)
    assert marks[0] == 0 and marks[-1] >= most and 2 <= len(marks) <= 5
    assert len({b - a for a, b in itertools.pairwise(marks)}) == 1
    labels = [word(mark) for mark in marks]
    assert [number_of(label) for label in labels] == marks
    svg = parsed(stacked_bars("t", [1, 2], [Series(label="a", colour=0, values=[0, most])], word))
    assert [text.text for text in svg.findall(f"{SVG}text")][: len(marks)] == labels


UNITS = {"k": 3, "M": 6, "B": 0, "kB": 3, "MB": 6, "GB": 9, "TB": 12}


def number_of(label):
    """The number that a label says, exactly."""
    number, _, unit = label.replace(",", "").partition(" ")
    return Fraction(number) * 10 ** (UNITS[unit] if unit else 0)


def test_days_that_an_axis_names_do_not_overlap():
    for n, named in ((0, 0), (1, 1), (2, 2), (4, 2), (7, 3), (30, 3), (90, 3)):
        days = list(range(20_000, 20_000 + n))
        svg = parsed(stacked_bars("t", days, [Series(label="a", colour=0, values=[0] * n)], str))
        said = [text.text for text in svg.findall(f"{SVG}text") if text.text not in ("0", "1")]
        assert len(said) == len(set(said)) == named


def test_bars_stand_on_each_other_and_in_proportion():
    series = [
        Series(label="a", colour=0, values=[1, 0]),
        Series(label="b", colour=5, values=[3, 2]),
    ]
    svg = parsed(stacked_bars("Title", [20_000, 20_001], series, str))
    first, second = svg.findall(f"{SVG}g")
    low, high = first.findall(f"{SVG}rect")
    assert (low.get("class"), high.get("class")) == ("s0", "s5")
    heights = [float(rect.get("height")) for rect in (low, high)]
    assert heights[1] / heights[0] == pytest.approx(3, rel=0.01)
    assert float(high.get("y")) + heights[1] == pytest.approx(float(low.get("y")), abs=0.11)
    assert first.find(f"{SVG}title").text == "4 Oct: a 1, b 3"
    assert second.find(f"{SVG}title").text == "5 Oct: b 2"
    assert len(second.findall(f"{SVG}rect")) == 1


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.lists(st.integers(0, 10**12), min_size=3, max_size=3), max_size=5),
    label=st.text(max_size=20).filter(lambda t: t.isprintable()),
)
def test_any_plot_is_xml_within_its_frame(values, label):
    series = [Series(label=label, colour=3, values=each) for each in values]
    markup = stacked_bars(label, [1, 2, 3], series, formatting.size)
    assert "style=" not in re.sub(r">[^<]*<", "><", str(markup))
    for rect in parsed(markup).iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= WIDTH
        assert -0.1 <= y <= y + h <= HEIGHT


@pytest.mark.parametrize(("share", "width"), [(0, 0), (0.25, 25), (1, 100), (7, 100), (-1, 0)])
def test_a_share_is_a_bar(share, width):
    rail, bar = parsed(share_bar(share, "active", "<b>")).findall(f"{SVG}rect")
    assert (rail.get("width"), float(bar.get("width"))) == ("100", width)


def test_sizes_counts_and_shares():
    assert [formatting.size(n) for n in (0, 7, 999, 1000, 1440, 5_400_000, 99_960_000, 3e15)] == [
        "0 B",
        "7 B",
        "999 B",
        "1 kB",
        "1.4 kB",
        "5.4 MB",
        "100 MB",
        "3,000 TB",
    ]
    assert [formatting.count(n) for n in (0, 12_345, 123_456, 9_999_999, 12_345_678)] == [
        "0",
        "12,345",
        "123 k",
        "10 M",
        "12.3 M",
    ]
    assert [formatting.percent(x) for x in (0, 0.00001, 0.333, 0.9991, 0.99999, 1)] == [
        "0%",
        "<0.1%",
        "33.3%",
        ">99.9%",
        ">99.9%",
        "100%",
    ]


def test_a_percentage_that_somebody_set_keeps_its_digits():
    assert [formatting.exact(x) for x in (0, 0.05, 62.55, 100.0)] == [
        "0%",
        "0.05%",
        "62.55%",
        "100%",
    ]


def test_spans_and_moments():
    assert [formatting.span(s) for s in (5, 90, 7000, 100_000, 600_000, -90)] == [
        "less than a minute",
        "1 minute",
        "116 minutes",
        "27 hours",
        "6 days",
        "1 minute ago",
    ]
    assert formatting.moment(1_700_000_000) == "2023-11-14 22:13 UTC"
    assert formatting.date(20_000) == "4 Oct"
