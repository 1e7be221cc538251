"""Numbers and releases as texts, for the terminal and the page."""

from datetime import UTC, datetime

from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.monitoring.releases import ReleaseFigures
from pocketrec_experiments.monitoring.report import MonitorReport

Table = tuple[str, list[str], list[list[str]]]
"""Title, heads of the columns, rows."""
_MISSING = "-"


def tables(report: MonitorReport) -> list[Table]:
    """Return all tables of a report as texts; a number that does not exist is "-"."""
    made = [_releases(report), _slates(report), _adoption(report)]
    if report.drifts:
        made.append(_drift(report))
    if report.calibration is not None:
        made.append(_calibration(report))
    return made


def headline(report: MonitorReport) -> str:
    """Return the window of the report as a sentence."""
    return (
        f"{day(report.from_utc)} to {day(report.until_utc - 1)} (UTC): {report.users:,} users, "
        f"{report.interactions:,} interactions, bundle {report.bundle} ({report.release})"
    )


def day(utc: int) -> str:
    """Return the day of an instant, such as 2026-05-01."""
    return datetime.fromtimestamp(utc, UTC).date().isoformat()


def share(value: float | None) -> str:
    """Return a share as a percentage."""
    return _MISSING if value is None else f"{value:.1%}"


def title_of(release: ReleaseFigures) -> str:
    """Return the name of a release with its label; the label alone if the name is unknown."""
    return f"{release.name} ({release.release[:8]})" if release.name else release.release


def _number(value: float | None, digits: int = 3) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _releases(report: MonitorReport) -> Table:
    heads = ["release", "channels", "installed", "users", "items", "coverage", "clicks", "data age"]
    rows = [
        [
            title_of(each),
            ", ".join(each.channels) or _MISSING,
            share(each.installed_share),
            f"{each.users:,}",
            f"{each.items:,}",
            share(each.coverage),
            share(each.click_share),
            _MISSING if each.data_age_s is None else f"{each.data_age_s / DAY_S:.1f} d",
        ]
        for each in report.releases
    ]
    return "Releases", heads, rows


def _slates(report: MonitorReport) -> Table:
    sources = sorted({source for each in report.releases for source in each.sources})
    heads = ["release", "slates", *sources, "p50 ms", "p95 ms", "p99 ms", "faults"]
    rows = [
        [
            title_of(each),
            f"{each.slates:,}",
            *(
                share(each.sources.get(s, 0) / each.slates if each.slates else None)
                for s in sources
            ),
            *(_number(each.latency_ms.get(name), 1) for name in ("p50", "p95", "p99")),
            ", ".join(f"{code} {n:,}" for code, n in sorted(each.faults.items())) or _MISSING,
        ]
        for each in report.releases
    ]
    return "Slates", heads, rows


def _adoption(report: MonitorReport) -> Table:
    adopted = report.adoption
    titles = {each.release: title_of(each) for each in report.releases}
    heads = ["day", "users", *(titles.get(name, name) for name in adopted.users), "updates"]
    rows = []
    for n, number in enumerate(adopted.days):
        counts = [users[n] for users in adopted.users.values()]
        updates = sum(each[n] for each in adopted.updates.values())
        shares = [share(count / sum(counts)) for count in counts]
        rows.append([day(number * DAY_S), f"{sum(counts):,}", *shares, f"{updates:,}"])
    return "Users by release", heads, rows


def _drift(report: MonitorReport) -> Table:
    heads = ["distribution", "state", "PSI", "by chance", "Jensen-Shannon", "largest change"]
    rows = [
        [
            each.what,
            each.state,
            _number(each.psi),
            _number(each.by_chance),
            _number(each.jensen_shannon),
            each.largest_change() if each.psi is not None else each.note,
        ]
        for each in report.drifts
    ]
    if report.unknown_items_share is not None:
        unknown = f"{report.unknown_items_share:.1%} of the interactions"
        rows.append(["unknown items", _MISSING, _MISSING, _MISSING, _MISSING, unknown])
    return "Drift from the training data", heads, rows


def _calibration(report: MonitorReport) -> Table:
    found = report.calibration
    assert found is not None
    rows = [
        [str(n), f"{each.impressions:,}", f"{each.score:.4g}", share(each.click_share)]
        for n, each in enumerate(found.tenths, 1)
    ]
    error = "scores are not probabilities" if found.error is None else f"error {found.error:.3f}"
    lift = "" if found.lift is None else f", highest / lowest tenth {found.lift:.2f}"
    title = f"Calibration ({error}{lift})"
    return title, ["tenth of the score", "impressions", "mean score", "clicked"], rows
