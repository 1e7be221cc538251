"""Count the slates that devices report: by release, source, fault and latency.

The numbers come from request events, which anyone can send. So a label has only values that are
known here; all others count as "other".
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from pocketrec_bundle.encoding.strict_json import is_number
from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.monitoring.fleet import label_of, published_channels

REQUEST = "request"
OTHER = "other"
SOURCES = ("model", "retrieval", "fallback", "page", "none")
"""Values of `pocketrec_edge.Answer.source`."""
FAULT_CODES = (
    "no_release",
    "store_damaged",
    "release_damaged",
    "release_rolled_back",
    "release_stopped",
    "model_unavailable",
    "user_tower_failed",
    "ranker_failed",
    "formula_not_finite",
    "deadline",
    "unknown_filter",
    "all_filtered",
    "nothing_left",
    "unknown_item",
    "catalogue_unreadable",
    "event_log_unreadable",
    "event_log_read_only",
    "event_log_not_written",
    "events_not_removed",
    "interests_unreadable",
    "sessions_unreadable",
    "session_not_kept",
    "experiments_unreadable",
    "arm_unusable",
)
"""Codes of docs/device/fault-codes.md; a test compares them with the device's."""
MAX_MS = 600_000.0
"""Latencies above ten minutes are not plausible and not counted."""
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Slates:
    """Counters of one process, summed over all workers by `http/metrics.py`."""

    def __init__(self, repo: Path, registry: CollectorRegistry) -> None:
        self._repo = repo
        self._slates = Counter(
            "pocketrec_slates",
            "Slates that devices reported, by release and source.",
            ["release", "source"],
            registry=registry,
        )
        self._faults = Counter(
            "pocketrec_slate_faults",
            "Faults of reported slates, by release and code.",
            ["release", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "pocketrec_slate_seconds",
            "Time to a slate on the device, by release.",
            ["release"],
            registry=registry,
            buckets=_SECONDS,
        )

    def count(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the request events among new rows of the table `event`."""
        requests = [json.loads(row["context"]) for row in rows if row["kind"] == REQUEST]
        if not requests:
            return
        known = self._known()
        for context in requests:
            release = _one_of(context.get("release"), known)
            self._slates.labels(release, _one_of(context.get("source"), SOURCES)).inc()
            if is_number(ms := context.get("ms"), 0, MAX_MS):
                self._seconds.labels(release).observe(ms / 1e3)
            faults = context.get("faults")
            for code in faults[: len(FAULT_CODES)] if isinstance(faults, list) else ():
                self._faults.labels(release, _one_of(code, FAULT_CODES)).inc()

    def _known(self) -> set[str]:
        try:
            channels = published_channels(self._repo)
        except PocketRecError:
            return set()
        return {label_of(s.manifest) for channel in channels for s in channel.policy.releases}


def _one_of(value: Any, known: Iterable[str]) -> str:
    return value if isinstance(value, str) and value in known else OTHER
