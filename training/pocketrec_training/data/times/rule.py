"""Decide how the times of a file set are read, from the whole column, and refuse wild times.

The decision is one query of counts. `data_report.json` keeps it, and later deliveries follow it.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.units import DAY_S
from pocketrec_training.data.samples import Samples
from pocketrec_training.data.times.forms import (
    COMPACT,
    DATE,
    EXCEL_1970,
    NUMBER,
    PER_SECOND,
    YEAR_1990,
    TimeRule,
    counted_seconds,
    unix_seconds,
)
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.tables import Columns

MISSING = "timestamp missing"
UNREADABLE = "timestamp unreadable"
BEFORE_1970 = "timestamp before 1970"
BEFORE_1990 = "timestamp before 1990"
FUTURE = "timestamp in the future"
WILD = (UNREADABLE, BEFORE_1970, BEFORE_1990, FUTURE)
MOST_WILD = 0.5
"""Share of wild times above which the unit or the format is wrong, whatever the recipe allows."""


def decide_time(
    samples: Samples, names: Columns, earlier: TimeRule | None, now_utc: int
) -> TimeRule:
    """Return how the times of a file set are read.

    Args:
        samples: the column; it is read once.
        names: `timestamp_unit` and `timestamp_format` decide before the data.
        earlier: the rule of the first delivery; what it leaves open is decided now.
        now_utc: unix seconds.

    Raises:
        TableInvalidError: the column does not show whether day or month is first.
    """
    if names.timestamp_format:
        return TimeRule(format=names.timestamp_format, declared=True)
    declared = names.timestamp_unit != "auto"
    rule = earlier or TimeRule(declared=declared)
    if declared:
        rule = replace(rule, unit=names.timestamp_unit)
    if rule.unit and rule.order:
        return rule
    counts = _counts(samples, now_utc)
    if counts["numbers"] and not rule.unit:
        rule = replace(rule, unit=max(PER_SECOND, key=lambda unit: counts[unit]))
    if counts["dates"] and not rule.order:
        rule = replace(rule, order=_order(counts, samples))
    return rule


def _counts(samples: Samples, now_utc: int) -> dict[str, int]:
    """Count the forms in a column, and for each unit the numbers that it makes plausible."""
    text = samples.text
    number = text.re_search(NUMBER) & ~text.re_search(COMPACT)
    date = text.re_search(DATE)
    one, two = (text.re_extract(DATE, group).try_cast("int32") for group in (1, 2))
    conditions = {
        "numbers": number,
        "dates": date,
        "dotted": date & text.contains("."),
        "day_first": date & (one > 12),
        "month_first": date & (two > 12),
        "differ": date & (one != two),
    }
    for unit in PER_SECOND:
        plausible = counted_seconds(text, unit).between(YEAR_1990, now_utc + DAY_S)
        conditions[unit] = number & plausible
    counts = {name: condition.cast("int64").sum() for name, condition in conditions.items()}
    found = samples.table.aggregate(**counts).to_pyarrow().to_pylist()[0]
    return {name: int(n or 0) for name, n in found.items()}


def _order(counts: dict[str, int], samples: Samples) -> str:
    """Return which part of a date is first: only a day is above 12, and dots mean day first."""
    if counts["day_first"] or counts["month_first"]:
        return "day" if counts["day_first"] >= counts["month_first"] else "month"
    if counts["dotted"] == counts["dates"] or not counts["differ"]:
        return "day"
    text = samples.text
    one, two = (text.re_extract(DATE, group) for group in (1, 2))
    unclear = samples.of(text.re_search(DATE) & (one != two))
    day, month = _formats(samples.values(text.re_search(DATE) & (one != two))[0])
    raise TableInvalidError(
        f"{samples.file}: the times ({unclear}) may have the day or the month first: no part is "
        f'above 12. Set columns.timestamp_format = "{day}" (day first) or "{month}" (month first).'
    )


def _formats(value: str) -> tuple[str, str]:
    """Return the two formats that a date such as "9/2/2020 8:26" may have."""
    parts = re.fullmatch(r"\d+(\D)\d+(\D)\d+(.*)", value)
    assert parts is not None
    one, two, clock = parts.groups()
    half = re.search("[AaPp][Mm]$", clock)
    for directive in ("%I" if half else "%H", "%M", "%S"):
        clock = re.sub(r"(?<![%\d])\d+", directive, clock, count=1)
    clock = re.sub("[AaPp][Mm]$", "%p", clock)
    return f"%d{one}%m{two}%Y{clock}", f"%m{one}%d{two}%Y{clock}"


def time_problem(
    text: ir.StringValue, ts: ir.IntegerValue, rule: TimeRule, now_utc: int
) -> ir.Value:
    """Return why a time cannot be used: one of `MISSING` and `WILD`, or null."""
    earliest = 0 if rule.declared else YEAR_1990
    return ibis.cases(
        (text.isnull(), MISSING),
        (ts.isnull(), UNREADABLE),
        (ts < earliest, BEFORE_1970 if rule.declared else BEFORE_1990),
        (ts > now_utc + DAY_S, FUTURE),
        else_=ibis.null("string"),
    )


def refuse_wild_times(
    samples: Samples,
    rule: TimeRule,
    reasons: dict[str, int],
    n_rows: int,
    allowed: float,
    now_utc: int,
) -> None:
    """Stop if too many times are unreadable or implausible.

    Args:
        samples: the column.
        rule: how it was read.
        reasons: "interactions: reason" -> rows.
        n_rows: rows of the file.
        allowed: `data.max_bad_share`; at most `MOST_WILD` is allowed.
        now_utc: unix seconds, as for the reasons.

    Raises:
        TableInvalidError: they are; the text has samples, what they were read as, and the key.
    """
    found = {why: reasons.get(f"interactions: {why}", 0) for why in WILD}
    n_wild = sum(found.values())
    if n_wild <= min(allowed, MOST_WILD) * n_rows:
        return
    seconds = unix_seconds(samples.text, rule)
    problem = time_problem(samples.text, seconds, rule, now_utc)
    counts = "; ".join(f"{why}: {n}" for why, n in found.items() if n)
    quoted = samples.of(problem.isin(list(WILD)), read=seconds, show=_moment)
    (value, *_) = samples.values(problem.isin(list(WILD)))
    raise TableInvalidError(
        f"{samples.file}: columns.timestamp: {n_wild} of {n_rows} times cannot be right "
        f"({counts}): {quoted}. {_advice(value, rule, now_utc)}"
    )


def _moment(seconds: int | None) -> str:
    if seconds is None:
        return ""
    try:
        return f"read as {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "read as a year above 9999"


def _advice(value: str, rule: TimeRule, now_utc: int) -> str:
    """Name the key that mends the times, by the look of the first wild one."""
    if rule.format:
        return f"Set columns.timestamp_format to their form; it is {rule.format!r}."
    try:
        number = float(value)
    except ValueError:
        return (
            "Set columns.timestamp_format to their form, such as "
            '"%d/%m/%Y %H:%M" (also if dates before 1990 are right).'
        )
    latest = now_utc + DAY_S
    units = {unit: number / per for unit, per in PER_SECOND.items()}
    units |= {"excel": (number - EXCEL_1970) * DAY_S, "days": number * DAY_S}
    likely = [unit for unit, at in units.items() if YEAR_1990 <= at <= latest]
    if 1900 <= number <= 2200 and number == int(number):
        return 'They look like years: set columns.timestamp_format = "%Y".'
    if likely:
        told = ", or ".join(f'"{unit}" ({_moment(int(units[unit]))})' for unit in likely)
        return f"Set columns.timestamp_unit = {told}."
    return (
        "Set columns.timestamp_unit to s, ms, us, ns, days or excel, or columns.timestamp_format. "
        'Numbers that only give an order, such as 1, 2, 3, need timestamp_unit = "s".'
    )
