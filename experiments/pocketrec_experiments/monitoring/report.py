"""`monitor_report`: from exported events and a bundle to the whole report."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.reference import KEY, Reference
from pocketrec_experiments.analysis.tables import open_events
from pocketrec_experiments.monitoring.adoption import Adoption, adoption
from pocketrec_experiments.monitoring.calibration import Calibration, calibration
from pocketrec_experiments.monitoring.clicks import WINDOW_S, clicked_impressions
from pocketrec_experiments.monitoring.drift import MISSING, Drift, drifts, item_counts
from pocketrec_experiments.monitoring.releases import ReleaseFigures, counted
from pocketrec_experiments.monitoring.windowed import windowed

RELEASE_DIGITS = 16
MAX_DAYS = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Rules of the report.

    Attributes:
        days: length of the window, which ends with the newest event.
        clicks: events that count as a click on an impression; empty: all interactions.
        window_s: longest time from an impression to a click that it explains.
        threads: threads of DuckDB.
        memory_mb: memory of DuckDB; beyond, it spills to disk.
    """

    days: int = 28
    clicks: tuple[str, ...] = ()
    window_s: int = WINDOW_S
    threads: int = 2
    memory_mb: int = 2500


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A release in a repository.

    Attributes:
        name: of the release.
        channels: channels that have it.
        data_until_utc: time of its newest training event, unix seconds.
    """

    name: str
    channels: tuple[str, ...]
    data_until_utc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """Result of `monitor_report`.

    Attributes:
        bundle: name of the bundle.
        release: its label in request events.
        from_utc: begin of the window, unix seconds.
        until_utc: end of the window.
        days: days (UTC) that the window touches.
        users: users with an event.
        interactions: interactions in the window.
        unknown_items_share: interactions with items that the bundle lacks, 0..1; None without any.
        releases: figures by release, the most installed first.
        adoption: releases by day.
        calibration: of the bundle's scores; None with too few impressions.
        drifts: the field against the training data of the bundle.
        notes: what is missing or was left out, and why.
    """

    bundle: str
    release: str
    from_utc: int
    until_utc: int
    days: int
    users: int
    interactions: int
    unknown_items_share: float | None
    releases: list[ReleaseFigures]
    adoption: Adoption
    calibration: Calibration | None
    drifts: list[Drift]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; numbers that do not exist are null."""
        plain: dict[str, Any] = _finite(dataclasses.asdict(self))
        for release, figures in zip(plain["releases"], self.releases, strict=True):
            release["fallback_share"] = figures.fallback_share
            release["click_share"] = figures.click_share
        return plain


def monitor_report(
    *,
    events: Path,
    bundle: Path,
    now_utc: int,
    settings: Settings | None = None,
    published: Mapping[str, Published] | None = None,
) -> MonitorReport:
    """Compute how releases do in the field.

    Args:
        events: folder of `pocketrec events export`.
        bundle: folder of the bundle that drift, calibration and coverage are of.
        now_utc: unix seconds; later events are left out.
        settings: rules of the report.
        published: releases of a repository by label, for names, channels and the age of the data.

    Raises:
        InputError: a setting is out of its range.
        EventsInvalidError: the folder has no events, or a column is missing.
        BundleInvalidError: the bundle fails a check.
    """
    settings = settings or Settings()
    if not 1 <= settings.days <= MAX_DAYS or settings.window_s < 0:
        raise InputError(f"monitor: days is {settings.days}; expected 1..{MAX_DAYS}.")
    opened = open_bundle(bundle)
    release = opened.sha256[:RELEASE_DIGITS]
    known = {
        release: Published(
            name=opened.manifest.name, channels=(), data_until_utc=opened.manifest.created_utc
        ),
        **(published or {}),
    }
    any_of = ("requests", "impressions", "interactions")
    with open_events(
        events, any_of=any_of, threads=settings.threads, memory_mb=settings.memory_mb
    ) as tables:
        found = windowed(tables, days=settings.days, now_utc=now_utc, always=known)
        clicked = clicked_impressions(found, clicks=settings.clicks, window_s=settings.window_s)
        adopted = adoption(found)
        items = item_counts(found, opened)
        interactions = int(items.counts.sum()) + items.unknown
        reference, why = _reference(opened)
        drifted = drifts(found, opened, reference, items, release) if reference else []
        calibrated = calibration(clicked, release)
        figures = [
            _figures(label, values, adopted, known.get(label), found.until_utc, release, opened)
            for label, values in counted(found, clicked).items()
        ]
        report = MonitorReport(
            bundle=opened.manifest.name,
            release=release,
            from_utc=found.from_utc,
            until_utc=found.until_utc,
            days=found.days(),
            users=found.users,
            interactions=interactions,
            unknown_items_share=items.unknown / interactions if interactions else None,
            releases=sorted(figures, key=lambda each: (-each.installed_share, each.release)),
            adoption=adopted,
            calibration=calibrated,
            drifts=drifted,
            notes=[],
        )
        notes = _notes(report, why, found.later)
    return dataclasses.replace(report, notes=notes)


def _reference(bundle: Bundle) -> tuple[Reference | None, str]:
    """Return the reference of the model card, or None and the reason."""
    if not bundle.lists("model_card.json"):
        return None, "drift is missing: the bundle has no model card"
    card = bundle.json("model_card.json")
    if not isinstance(card, dict) or KEY not in card:
        return None, (
            "drift is missing: the model card has no reference distributions, as it is from an "
            "earlier version. Export the run again with `pocketrec export`"
        )
    try:
        return Reference.from_json(card[KEY]), ""
    except InputError as err:
        return None, f"drift is missing: {err}"


def _figures(
    label: str,
    values: dict[str, Any],
    adopted: Adoption,
    known: Published | None,
    until_utc: int,
    release: str,
    bundle: Bundle,
) -> ReleaseFigures:
    last = sum(adopted.last.values())
    is_bundle = label == release
    return ReleaseFigures(
        release=label,
        name=known.name if known else None,
        channels=known.channels if known else (),
        installed_share=adopted.last.get(label, 0) / last if last else 0.0,
        coverage=values.get("items", 0) / bundle.item_count if is_bundle else None,
        data_age_s=max(0, until_utc - known.data_until_utc) if known else None,
        **values,
    )


def _notes(report: MonitorReport, why: str, later: int) -> list[str]:
    notes = [why] if why else []
    if all(each.release != report.release for each in report.releases):
        notes.append(
            f"no slate of the bundle {report.bundle} ({report.release}) in the window, so its "
            "scores and its coverage are missing"
        )
    elif report.calibration is None:
        notes.append("too few impressions with a score for the calibration")
    missing = [f"{each.what} ({each.note})" for each in report.drifts if each.state == MISSING]
    if missing:
        notes.append(f"drift is missing for {', '.join(missing)}")
    if later:
        notes.append(f"{later:,} events are in the future and were left out")
    return notes


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
