"""Numbers, sizes and times as people read them; filters of the site's pages."""

from datetime import UTC, datetime

_DAY_S = 86_400


def size(n: float) -> str:
    """Bytes in decimal units: 1.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n) < 999.5:
            return f"{n:.0f} {unit}" if n >= 99.5 or n == round(n) else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def count(n: float) -> str:
    """A count with its thousands apart; long ones in thousands or millions."""
    if n < 100_000:
        return f"{n:,.0f}"
    return f"{n / 1000:,.0f} k" if n < 10_000_000 else f"{n / 1e6:,.1f} M"


def percent(share: float) -> str:
    """A share 0..1 as a percentage with the digits that matter."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1%"
    return f"{value:.1f}".removesuffix(".0") + "%"


def span(seconds: float) -> str:
    """A time span in its largest unit: 6 days."""
    past = seconds < 0
    seconds = abs(seconds)
    for unit, length in (("day", _DAY_S), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (seconds >= length and unit == "minute"):
            n = int(seconds // length)
            text = f"{n} {unit}{'' if n == 1 else 's'}"
            break
    else:
        text = "less than a minute"
    return f"{text} ago" if past else text


def moment(utc: int) -> str:
    """A moment, to the minute: 2026-01-31 12:00 UTC."""
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M UTC")


def date(day: int) -> str:
    """A day, counted from 1970-01-01: 31 Jan."""
    found = datetime.fromtimestamp(day * _DAY_S, UTC)
    return f"{found.day} {found:%b}"


FILTERS = {
    "size": size,
    "count": count,
    "percent": percent,
    "span": span,
    "moment": moment,
    "date": date,
}
