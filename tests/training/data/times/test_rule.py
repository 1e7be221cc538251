"""Times in the forms of real exports are read alike; what cannot be decided is refused."""

from dataclasses import replace
from datetime import UTC, datetime

import ibis
import pytest

from pocketrec_training.data.samples import Samples
from pocketrec_training.data.times.forms import TimeRule, unix_seconds
from pocketrec_training.data.times.rule import decide_time, refuse_wild_times, time_problem
from pocketrec_training.errors import RecipeInvalidError, TableInvalidError
from pocketrec_training.reading.raw_table import LINE, PLACE
from pocketrec_training.recipe.load import parse_recipe
from pocketrec_training.recipe.tables import Columns

T0 = 1_600_000_000
"""2020-09-13 12:26:40 UTC, a Sunday."""
DAY = 1_599_955_200
"""2020-09-13 00:00:00 UTC."""
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def connection():
    found = ibis.duckdb.connect()
    yield found
    found.disconnect()


@pytest.fixture
def samples(connection):
    """Return a function that makes a column of texts, in lines 2, 3, ... of t.csv."""

    def make(*texts):
        places = list(range(len(texts)))
        rows = {"time": list(texts), PLACE: places, LINE: [place + 2 for place in places]}
        table = connection.create_table("t", ibis.memtable(rows), overwrite=True)
        return Samples(table=table, text=table["time"], file="t.csv")

    return make


def read(samples, names=None, earlier=None):
    rule = decide_time(samples, names or Columns(), earlier, NOW)
    seconds = unix_seconds(samples.text, rule)
    found = samples.table.select(PLACE, ts=seconds).order_by(PLACE)
    return rule, [row["ts"] for row in found.to_pyarrow().to_pylist()]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1600000000", T0),
        ("1600000000.9", T0),
        ("1.6E9", T0),
        ("1600000000000", T0),
        ("1600000000000.0", T0),
        ("1600000000000000", T0),
        ("1600000000000000000", T0),
        ("1.6e+18", T0),
        ("2020-09-13T12:26:40Z", T0),
        ("2020-09-13T12:26:40.123Z", T0),
        ("2020-09-13 12:26:40", T0),
        ("2020-09-13 12:26:40 UTC", T0),
        ("2020-09-13 12:26:40,123", T0),
        ("2020/09/13 12:26:40", T0),
        ("2020-09-13T14:26:40+02:00", T0),
        ("2020-09-13 14:26:40 +0200", T0),
        ("2020-09-13 14:26:40+02", T0),
        ("2020-09-13 07:26:40 -0500", T0),
        ("20200913122640", T0),
        ("20200913T122640Z", T0),
        ("20200913", DAY),
        ("20200913.0", DAY),
        ("2020-09-13", DAY),
        ("13.09.2020", DAY),
        ("13.09.2020 12:26:40", T0),
        ("13/9/2020, 12:26", T0 - 40),
        ("9/13/2020 12:26", T0 - 40),
        ("9/13/2020 12:26:40 PM", T0),
        ("9/13/2020 12:00 am", DAY),
        ("9/13/2020 1:00 p.m.", DAY + 13 * 3600),
        ("13-09-2020", DAY),
    ],
)
def test_each_form_of_time_gives_the_same_second(samples, text, seconds):
    assert read(samples(text))[1] == [seconds]


@pytest.mark.parametrize(
    ("unit", "text", "seconds"),
    [
        ("s", "7", 7),
        ("s", "20200913", 20_200_913),
        ("ms", "7000.5", 7),
        ("us", "7000001", 7),
        ("ns", "7000000001", 7),
        ("days", "18518", DAY),
        # 2020-09-13 12:26:40 in a spreadsheet: 44087 days and 44,800 of 86,400 seconds.
        ("excel", "44087.5185185185", T0),
    ],
)
def test_declared_unit_decides(samples, unit, text, seconds):
    rule, found = read(samples(text), Columns(timestamp_unit=unit))
    assert (rule.unit, rule.declared, found) == (unit, True, [seconds])


def test_declared_format_decides(samples):
    rule, found = read(samples("09 13, 2020", "x"), Columns(timestamp_format="%m %d, %Y"))
    assert (rule.declared, found) == (True, [DAY, None])


def test_one_decision_holds_for_the_whole_column(samples):
    rule, found = read(samples("9/2/2020", "9/13/2020", "1600000000", "1600000001"))
    assert (rule.order, rule.unit) == ("month", "s")
    assert found == [DAY - 11 * 86_400, DAY, T0, T0 + 1]
    assert read(samples("2/9/2020", "13/9/2020"))[1] == [DAY - 11 * 86_400, DAY]


def test_a_later_delivery_is_read_as_the_first(samples):
    first = TimeRule(unit="ms", order="month")
    rule, found = read(samples("9/2/2020", "1600000000"), earlier=first)
    assert rule == first
    assert found == [DAY - 11 * 86_400, 1_600_000]
    # What the first delivery left open is decided by the first that shows it.
    assert read(samples("13/9/2020"), earlier=TimeRule(unit="s"))[0].order == "day"


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("9/2/2020 8:26", ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")),
        ("09-02-2020", ("%d-%m-%Y", "%m-%d-%Y")),
        ("9/2/2020 8:26:01 PM", ("%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p")),
    ],
)
def test_unclear_order_is_refused_with_both_formats(samples, text, formats):
    with pytest.raises(TableInvalidError, match=r"t\.csv: .*day or the month first") as refused:
        read(samples("1/1/2020", text))
    assert f"{text!r} (line 3)" in str(refused.value)
    moments = []
    for form in formats:
        assert f'"{form}"' in str(refused.value)
        moments += read(samples(text), Columns(timestamp_format=form))[1]
    days = [datetime.fromtimestamp(moment, UTC) for moment in moments]
    assert [(day.day, day.month) for day in days] == [(9, 2), (2, 9)]


def test_order_that_makes_no_difference_is_not_asked_for(samples):
    assert read(samples("1/1/2020 00:00"))[1] == [1_577_836_800]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["2019", "2020"], ["'2019' (line 2, read as 1970-01-01 00:33)", '"%Y"']),
        (["44000.5"], ["read as 1970-01-01 12:13", '"excel" (read as 2020-06-18 12:00)']),
        (["18518"], ['"days" (read as 2020-09-13 00:00)']),
        (["1", "2"], ['timestamp_unit = "s"']),
        (["4102444800"], ["in the future: 1", "2100-01-01"]),
        (["1970-01-01"], ["before 1990: 1", "timestamp_format"]),
        (["yesterday"], ["unreadable: 1", "'yesterday' (line 2)", "timestamp_format"]),
        (["13/13/2020", "13/9/2020", "x"], ["unreadable: 2"]),
    ],
)
def test_wild_times_stop_the_run_with_samples_and_the_key(samples, texts, words):
    column = samples(*texts)
    rule, _ = read(column)
    reasons = counts(column, rule)
    with pytest.raises(TableInvalidError, match="columns") as refused:
        refuse_wild_times(column, rule, reasons, len(texts), 0.5, NOW)
    for word in words:
        assert word in str(refused.value)


def counts(column, rule):
    problem = time_problem(column.text, unix_seconds(column.text, rule), rule, NOW)
    rows = column.table.select(why=problem).to_pyarrow().to_pylist()
    found = [f"interactions: {row['why']}" for row in rows if row["why"]]
    return {why: found.count(why) for why in found}


def test_a_few_wild_times_cost_their_rows_only(samples):
    column = samples(*(str(T0 + n) for n in range(99)), "0")
    rule, _ = read(column)
    reasons = counts(column, rule)
    assert reasons == {"interactions: timestamp before 1990": 1}
    refuse_wild_times(column, rule, reasons, 100, 0.01, NOW)
    with pytest.raises(TableInvalidError, match="1 of 100 times cannot be right"):
        refuse_wild_times(column, rule, reasons, 100, 0.009, NOW)


def test_mostly_wild_times_are_refused_whatever_the_recipe_allows(samples):
    column = samples("1", "2", "3", str(T0))
    rule, _ = read(column)
    with pytest.raises(TableInvalidError, match="3 of 4 times cannot be right"):
        refuse_wild_times(column, rule, counts(column, rule), 4, 1.0, NOW)
    column = samples("1", "2", str(T0), str(T0 + 1))
    refuse_wild_times(column, rule, counts(column, rule), 4, 1.0, NOW)


def test_declared_times_may_be_old_but_not_to_come(samples):
    column = samples("1", "1700100000", "-1")
    rule, _ = read(column, Columns(timestamp_unit="s"))
    assert counts(column, rule) == {
        "interactions: timestamp in the future": 1,
        "interactions: timestamp before 1970": 1,
    }


def test_unit_and_format_together_are_refused():
    given = {"name": "t", "data": {"interactions": "i.csv"}}
    columns = {"timestamp_unit": "s", "timestamp_format": "%Y"}
    with pytest.raises(RecipeInvalidError, match=r"columns\.timestamp_unit.*timestamp_format"):
        parse_recipe({**given, "columns": columns}, "t.toml")


def test_rule_is_told_in_words():
    rule = TimeRule(unit="ms", order="day")
    assert rule.sentence() == "numbers as milliseconds, dates with the day first"
    assert replace(rule, unit="", order="").sentence() == ""
