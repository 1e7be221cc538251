"""Read time stamps in the forms that exports of real shops have, as unix seconds UTC.

`rule.py` decides how the column of a file set is read; this module reads by that rule.
"""

from dataclasses import dataclass
from typing import get_args

import duckdb
import ibis
import ibis.expr.datatypes as dt
from ibis.expr import types as ir

from pocketrec_bundle.units import DAY_S
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.bounds import TimeUnit

YEAR_1990 = 631_152_000
"""1990-01-01 in unix seconds; an undeclared time before it is a mistake of units."""
EXCEL_1970 = 25_569
"""Day number of 1970-01-01 in spreadsheets, which count days from 1899-12-30."""
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
UNITS = tuple(unit for unit in get_args(TimeUnit) if unit != "auto")

NUMBER = r"^[+-]?\d+(\.\d*)?([eE]\+?\d+)?$"
COMPACT = r"^((?:19|20)\d\d)([01]\d)([0-3]\d)(?:[T ]?([0-2]\d)([0-5]\d)([0-5]\d)Z?)?(?:\.0*)?$"
"""20200913 or 20200913122640; such numbers are no plausible count of any unit."""
DATE = (
    r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})"
    r"(?:,?[ T]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?: *([AaPp])\.?[Mm]\.?)?)?$"
)
"""A date that ends in its year, perhaps with a time of day."""
_ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_LARGEST = 1e14
"""Seconds; a larger number cannot be a time and may not fit an integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRule:
    """How the times of one file set are read; saved in `data_report.json`.

    Attributes:
        unit: of numbers; empty: the column had none.
        order: "day" or "month" first, of dates such as 9/13/2020; empty: the column had none.
        format: of `columns.timestamp_format`; the other two are then empty.
        declared: the recipe names unit or format, so times before 1990 are believed.
    """

    unit: str = ""
    order: str = ""
    format: str = ""
    declared: bool = False

    def sentence(self) -> str:
        """Say how times are read, for the output; empty: times are ISO 8601 alone."""
        names = {"days": "days since 1970", "excel": "days of a spreadsheet", "s": "seconds"}
        names |= {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        parts = [f"format {self.format}"] if self.format else []
        parts += [f"numbers as {names[self.unit]}"] if self.unit else []
        parts += [f"dates with the {self.order} first"] if self.order else []
        return ", ".join(parts)


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def try_strptime(text: str, format: str) -> dt.timestamp:
    """Parse by format, null where it does not fit (DuckDB's function; Spark: try_to_timestamp)."""


def check_format(format: str, where: str) -> None:
    """Refuse a format that no time can be read with; empty: none is set.

    Raises:
        RecipeInvalidError: DuckDB's strptime does not know it; the text begins with `where`.
    """
    if not format:
        return
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT try_strptime('', ?)", [format])
    except duckdb.Error as err:
        first_line = str(err).partition("\n")[0]
        raise RecipeInvalidError(
            f"{where}: {format!r} is not a format of strptime, such as '%d/%m/%Y %H:%M' "
            f"({first_line})"
        ) from err


def unix_seconds(text: ir.StringValue, rule: TimeRule) -> ir.IntegerValue:
    """Read a column of texts as unix seconds, null where no form fits.

    Args:
        text: trimmed.
        rule: decides what the text alone does not show. Numbers of 8 or 14 digits that are a date
            are read as one, if the recipe does not declare a unit.
    """
    if rule.format:
        return _epoch(try_strptime(text, rule.format))
    numbers = counted_seconds(text, rule.unit or "s")
    forms = [(text.re_search(NUMBER), numbers)]
    if not rule.declared:
        forms.insert(0, (text.re_search(COMPACT), _epoch(_compact(text))))
    forms.append((text.re_search(_ISO), _epoch(_iso(text))))
    if rule.order:
        forms.append((text.re_search(DATE), _epoch(_date(text, rule.order))))
    return ibis.cases(*forms, else_=ibis.null("int64"))


def counted_seconds(text: ir.StringValue, unit: str) -> ir.IntegerValue:
    """Read numbers of a unit as unix seconds; null where the text is not a number."""
    number = text.try_cast("float64")
    match unit:
        case "excel":
            seconds = ((number - EXCEL_1970) * DAY_S).round()
        case "days":
            seconds = number * DAY_S
        case _:
            seconds = number / PER_SECOND[unit]
    fits = ibis.ifelse(seconds.abs() <= _LARGEST, seconds, ibis.null("float64"))
    return fits.floor().cast("int64")


def _epoch(moment: ir.TimestampValue) -> ir.IntegerValue:
    return moment.epoch_seconds().cast("int64")


def _compact(text: ir.StringValue) -> ir.TimestampValue:
    day = text.re_replace(COMPACT, r"\1-\2-\3")
    moment = text.re_replace(COMPACT, r"\1-\2-\3 \4:\5:\6")
    whole = ibis.ifelse(text.re_extract(COMPACT, 4) == "", day, moment)
    return whole.try_cast("timestamp('UTC')")


def _iso(text: ir.StringValue) -> ir.TimestampValue:
    """ISO 8601 and its neighbours: a blank or no colon in the offset, slashes, UTC as a word."""
    plain = text.re_replace(r"^(\d{4})/(\d{1,2})/", r"\1-\2-")
    plain = plain.re_replace(r"\s*(UTC|GMT|Z)$", "Z").re_replace(r"(:\d{2}),(\d+)", r"\1.\2")
    clock = r"(:\d{2}(?:\.\d+)?)\s*([+-]\d{2})"
    plain = plain.re_replace(clock + r":?(\d{2})$", r"\1\2:\3").re_replace(clock + "$", r"\1\2")
    return plain.try_cast("timestamp('UTC')")


def _date(text: ir.StringValue, order: str) -> ir.TimestampValue:
    def part(group: int) -> ir.StringValue:
        return text.re_extract(DATE, group)

    one, two = part(1).lpad(2, "0"), part(2).lpad(2, "0")
    month_day = one + "-" + two if order == "month" else two + "-" + one
    hour = part(4).try_cast("int32").fill_null(0)
    half = part(7).lower()
    hour = ibis.cases(
        ((half == "p") & (hour < 12), hour + 12),
        ((half == "a") & (hour == 12), 0),
        else_=hour,
    )
    clock = (hour.cast("string").lpad(2, "0"), part(5).lpad(2, "0"), part(6).lpad(2, "0"))
    return (part(3) + "-" + month_day + " " + ibis.literal(":").join(clock)).try_cast(
        "timestamp('UTC')"
    )
