"""The report as metrics for Prometheus, in a file for node_exporter's textfile collector."""

from collections.abc import Iterator

from pocketrec_experiments.monitoring.report import MonitorReport

Sample = tuple[dict[str, str], float]


def exposition(report: MonitorReport, now_utc: int) -> str:
    """Return the report in Prometheus' text format.

    Args:
        report: the report.
        now_utc: time of the report, unix seconds.
    """
    found: list[str] = []
    for name, text, samples in _metrics(report, now_utc):
        found += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        for labels, value in samples:
            shown = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
            found.append(f"{name}{{{shown}}} {value!r}" if shown else f"{name} {value!r}")
    return "\n".join(found) + "\n"


def _metrics(report: MonitorReport, now_utc: int) -> Iterator[tuple[str, str, list[Sample]]]:
    mine = {"release": report.release, "name": report.bundle}
    yield (
        "pocketrec_monitor_timestamp_seconds",
        "Time of the report of pocketrec monitor.",
        [({}, float(now_utc))],
    )
    yield (
        "pocketrec_drift_psi",
        "Population stability index against the training data, by distribution.",
        [({**mine, "what": d.what}, d.psi) for d in report.drifts if d.psi is not None],
    )
    yield (
        "pocketrec_drift_psi_above_chance",
        "Population stability index less that of samples of these sizes without drift.",
        [
            ({**mine, "what": d.what}, d.psi - d.by_chance)
            for d in report.drifts
            if d.psi is not None and d.by_chance is not None
        ],
    )
    yield (
        "pocketrec_drift_jensen_shannon",
        "Jensen-Shannon divergence in bits, by distribution.",
        [
            ({**mine, "what": d.what}, d.jensen_shannon)
            for d in report.drifts
            if d.jensen_shannon is not None
        ],
    )
    unknown = report.unknown_items_share
    yield (
        "pocketrec_unknown_items_share",
        "Interactions with items that the release lacks, 0..1.",
        [] if unknown is None else [(mine, unknown)],
    )
    error = None if report.calibration is None else report.calibration.error
    yield (
        "pocketrec_calibration_error",
        "Mean difference of score and click share, 0..1.",
        [] if error is None else [(mine, error)],
    )
    above = None
    if report.calibration is not None and error is not None:
        above = error - report.calibration.by_chance()
    yield (
        "pocketrec_calibration_error_above_chance",
        "Calibration error less that of calibrated scores with as many impressions.",
        [] if above is None else [(mine, above)],
    )
    each = report.releases
    yield (
        "pocketrec_field_installed_share",
        "Users whose last slate is of the release, 0..1.",
        [({"release": r.release, "name": r.name or ""}, r.installed_share) for r in each],
    )
    yield (
        "pocketrec_field_click_share",
        "Impressions with an interaction, 0..1.",
        [
            ({"release": r.release, "name": r.name or ""}, r.click_share)
            for r in each
            if r.click_share is not None
        ],
    )
    yield (
        "pocketrec_field_coverage",
        "Items shown as a share of the catalogue, 0..1.",
        [
            ({"release": r.release, "name": r.name or ""}, r.coverage)
            for r in each
            if r.coverage is not None
        ],
    )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
