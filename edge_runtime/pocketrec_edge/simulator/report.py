"""Figures of a simulated class, from the lives of its phones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pocketrec_edge.simulator.device_profiles import DeviceClass
from pocketrec_edge.simulator.device_session import SessionResult

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """One class.

    Attributes:
        requests: answers of any source.
        p50_ms, p99_ms: of all stages of a slate; first_slate_ms: median from opening the app to
            its first slate, disk included. Both are measured here, times `cpu_slowdown`: a model
            of a phone. None: no slate.
        sources: requests by the answer's source.
        unanswered: requests without an item though a release was installed.
        faults: how often each was told.
        releases: phones by the release that was active at the end.
        sync_s: what the class's networks would have taken for what was transferred, a model.
        put_off: syncs that had to wait, by reason.
        resident_mib: the most that the process of these phones had resident, Python and the engine
            included, measured here; would_be_killed: whether that is above `memory_mib`.
    """

    name: str
    devices: int
    cpu_slowdown: float
    requests: int
    p50_ms: float | None
    p99_ms: float | None
    first_slate_ms: float | None
    sources: dict[str, int]
    unanswered: int
    faults: dict[str, int]
    releases: dict[str, int]
    installs: int
    syncs: int
    put_off: dict[str, int]
    bytes_down: int
    sync_s: float
    acts: int
    events: int
    events_sent: int
    resident_mib: float
    memory_mib: float
    would_be_killed: bool


def summed(kind: DeviceClass, results: list[SessionResult], peak_bytes: int) -> ClassReport:
    """Add up the phones of a class."""
    slower = kind.cpu_slowdown
    total_ms = [ms * slower for result in results for ms in result.total_ms]
    first_ms = [ms * slower for result in results for ms in result.first_ms]
    return ClassReport(
        name=kind.name,
        devices=len(results),
        cpu_slowdown=slower,
        requests=sum(sum(result.sources.values()) for result in results),
        p50_ms=_quantile(total_ms, 0.5),
        p99_ms=_quantile(total_ms, 0.99),
        first_slate_ms=_quantile(first_ms, 0.5),
        sources=_sum(result.sources for result in results),
        unanswered=sum(result.unanswered for result in results),
        faults=_sum(result.faults for result in results),
        releases=dict(Counter(result.release or "none" for result in results)),
        installs=sum(result.installs for result in results),
        syncs=sum(result.syncs for result in results),
        put_off=_sum(result.put_off for result in results),
        bytes_down=sum(result.bytes_down for result in results),
        sync_s=round(sum(result.sync_s for result in results), 3),
        acts=sum(result.acts for result in results),
        events=sum(result.events for result in results),
        events_sent=sum(result.events_sent for result in results),
        resident_mib=round(peak_bytes / MIB, 1),
        memory_mib=kind.memory_mib,
        would_be_killed=peak_bytes > kind.memory_mib * MIB,
    )


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if values else None


def _sum(counters: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counters:
        total.update(each)
    return dict(total.most_common())
