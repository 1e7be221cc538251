"""How a column can be read as times: unix seconds, milliseconds, dates in words, ...

The rules are for a proposal. `pocketrec data` reads the times by the keys that the recipe has.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pocketrec_training.table_profile.names import is_time_name

MIN_TS, MAX_TS = 631_152_000, 4_102_444_800
"""1990 and 2100, unix seconds."""
LOOKED_AT = 3000
"""Distinct values that decide the form."""
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DAY_S = 86_400
_EXCEL_EPOCH = 25_569
"""1970-01-01 as an Excel serial number."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?( ?(Z|UTC|[+-]\d\d:?(\d\d)?))?")
_DATE = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(,?[ T]\d{1,2}:\d\d(:\d\d)?( ?[AaPp]\.?[Mm])?)?"
)
_WORDED = (
    "%m %d, %Y",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeForm:
    """How to read times.

    Attributes:
        told: in words, for the table that is printed.
        unit: of numbers: "s", "ms", "us", "ns", "days" or "excel"; empty for texts.
        formats: of texts, as in strptime; empty: ISO 8601; two: day and month look alike.
        by_name: whether the values are times only because the column's name says so.
        is_recent: whether most values are between 1990 and 2100.
    """

    told: str
    unit: str = ""
    formats: tuple[str, ...] = ()
    by_name: bool = False
    is_recent: bool = True

    def seconds(self, values: Iterable[str]) -> NDArray[np.float64]:
        """Return unix seconds, float64 [n]; nan where a value cannot be read."""
        texts = pd.Series(list(values), dtype="object")
        if not self.unit:
            form = self.formats[0] if self.formats else "ISO8601"
            times = pd.to_datetime(texts, format=form, errors="coerce", utc=True)
            moments = times.to_numpy(dtype="datetime64[ns]").astype("datetime64[s]")
            return np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
        if self.unit == "date":
            return TimeForm(told="", formats=("%Y%m%d",)).seconds(texts)
        if self.unit == "excel":
            return (numbers - _EXCEL_EPOCH) * _DAY_S
        return numbers * (_DAY_S if self.unit == "days" else UNITS[self.unit])


def recognise_time(
    name: str, counts: Mapping[str, int], numbers: Mapping[str, float]
) -> TimeForm | None:
    """Return how a column can be read as times; None if it cannot.

    Args:
        name: of the column; serial numbers of days are times only in a column with a usual name.
        counts: its distinct values, those that mean "no value" left out.
        numbers: those that are numbers.
    """
    if len(numbers) >= 0.95 * len(counts):
        return _of_numbers(name, np.fromiter(numbers.values(), np.float64, len(numbers)))
    step = max(1, len(counts) // LOOKED_AT)
    values = [*islice(counts, 0, None, step)]
    form = _of_texts(values)
    if form is None:
        return None
    seconds = form.seconds(values)
    return replace(form, is_recent=bool(((seconds >= MIN_TS) & (seconds < MAX_TS)).mean() >= 0.5))


def _of_numbers(name: str, numbers: NDArray[np.float64]) -> TimeForm | None:
    for unit, seconds in UNITS.items():
        inside = (numbers * seconds >= MIN_TS) & (numbers * seconds < MAX_TS)
        if inside.mean() >= 0.95:
            words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
            return TimeForm(told=f"unix {words.get(unit, 'nanoseconds')}", unit=unit)
    days = numbers // 100 % 100, numbers % 100
    is_date = (numbers >= 19_900_101) & (numbers < 21_000_101)
    is_date &= (days[0] >= 1) & (days[0] <= 12) & (days[1] >= 1) & (days[1] <= 31)
    if is_date.mean() >= 0.99:
        return TimeForm(told="dates such as 20200913", unit="date")
    if not is_time_name(name):
        return None
    if ((numbers >= 32_874) & (numbers < 73_051)).mean() >= 0.99:
        return TimeForm(told="Excel's days", unit="excel", by_name=True)
    if ((numbers >= MIN_TS / _DAY_S) & (numbers < MAX_TS / _DAY_S)).mean() >= 0.99:
        return TimeForm(told="days since 1970", unit="days", by_name=True)
    return None


def _of_texts(values: list[str]) -> TimeForm | None:
    enough = 0.95 * len(values)
    if sum(_ISO.fullmatch(value) is not None for value in values) >= enough:
        return TimeForm(told="ISO 8601")
    dates = [match for value in values if (match := _DATE.fullmatch(value))]
    if len(dates) >= enough and dates:
        return _day_or_month_first(dates)
    for form in _WORDED:
        some = TimeForm(told=f"as {form}", formats=(form,))
        if not np.isnan(some.seconds(values[:20])).any():
            read = ~np.isnan(some.seconds(values))
            return some if read.mean() >= 0.95 else None
    return None


def _day_or_month_first(dates: list[re.Match[str]]) -> TimeForm:
    """Return the form of dates such as 13/09/2020 8:26; of two if both are possible."""
    mark, last = dates[0][2], dates[0][4]
    clock = dates[0][5] or ""
    year = "%Y" if len(last) == 4 else "%y"
    time = ""
    if clock:
        lead = clock[: re.search(r"\d", clock).start()]  # type: ignore[union-attr]
        seconds = ":%S" if dates[0][6] else ""
        half = " %p" if " " in clock.lstrip(" ,T") else "%p"
        time = lead + (f"%I:%M{seconds}{half}" if dates[0][7] else f"%H:%M{seconds}")
    day_first = f"%d{mark}%m{mark}{year}{time}"
    month_first = f"%m{mark}%d{mark}{year}{time}"
    first, second = (max(int(match[place]) for match in dates) for place in (1, 3))
    if first > 12 or (mark == "." and second <= 12):
        return TimeForm(told=f"day first, as {day_first}", formats=(day_first,))
    if second > 12:
        return TimeForm(told=f"month first, as {month_first}", formats=(month_first,))
    return TimeForm(
        told="day or month first: no value is above 12", formats=(day_first, month_first)
    )
