"""Format numbers, sizes and times for people; filters of the site's pages."""

from datetime import UTC, datetime

from pocketrec_bundle.units import DAY_S


def size(n: float) -> str:
    """Format bytes in decimal units: 1.4 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n) < 999.5 or unit == "TB":
            break
        n /= 1000
    digits = 0 if abs(n) >= 99.5 else 1
    return f"{n:,.{digits}f}".removesuffix(".0") + f" {unit}"


def count(n: float) -> str:
    """Format a count with thousands separators; large counts in thousands or millions."""
    if n < 100_000:
        return f"{n:,.0f}"
    if n < 9_999_500:
        return f"{n / 1000:,.0f} k"
    return f"{n / 1e6:,.1f}".removesuffix(".0") + " M"


def percent(share: float) -> str:
    """Format a share 0..1 as a percentage with one digit; 0% and 100% are exact."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1%"
    if 99.9 < value < 100:
        return ">99.9%"
    return f"{value:.1f}".removesuffix(".0") + "%"


def exact(value: float) -> str:
    """Format a percentage from the policy with all its digits: 0.05%."""
    return f"{value:.10g}%"


def span(seconds: float) -> str:
    """Format a duration in its largest unit: 6 days."""
    past = seconds < 0
    seconds = abs(seconds)
    for unit, length in (("day", DAY_S), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (seconds >= length and unit == "minute"):
            n = int(seconds // length)
            text = f"{n} {unit}{'' if n == 1 else 's'}"
            break
    else:
        text = "less than a minute"
    return f"{text} ago" if past else text


def moment(utc: int) -> str:
    """Format an instant to the minute: 2026-01-31 12:00 UTC."""
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M UTC")


def date(day: int) -> str:
    """Format a day, counted from 1970-01-01: 31 Jan."""
    midnight = datetime.fromtimestamp(day * DAY_S, UTC)
    return f"{midnight.day} {midnight:%b}"


FILTERS = {
    "size": size,
    "count": count,
    "percent": percent,
    "exact": exact,
    "span": span,
    "moment": moment,
    "date": date,
}
